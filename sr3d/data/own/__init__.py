"""One's own scans with boxes, from the files of an annotation tool or ours, as a data set.

`labels` says what a box is here, `ours`, `coco`, `labelcloud`, `sustech` and `supervisely` read one
format of files each, `finding` finds the file of each scan and its format, `classes`, `splits` and
`levels` decide what the set is, and `folder` does all of it. `export` writes such a folder.
"""
