"""mmdet3d's data, read and written: clouds in `points/<scene>.bin`, boxes in info pickles."""
