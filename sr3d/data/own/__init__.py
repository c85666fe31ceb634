"""A user's scans with boxes, from the files of an annotation tool or ours, as a data set.

`labels` defines a labelled box and the classes of a set. `ours`, `coco`, `labelcloud` and
`annotation_tools` read label files. `finding` finds the label file of each scan, its format and its
split. `folder` prepares a folder of labelled scans, and `export` writes such a folder.
"""
