"""A user's labelled scans as a data set. Labels are in files of annotation tools or in ours.

`labels` defines a labelled box and the classes of a set. `ours`, `coco`, `labelcloud` and
`annotation_tools` read label files. `finding` finds the label file of each scan and its format, and
`splits` its split. `preparation` prepares a folder of labelled scans. `export` writes one.
"""
