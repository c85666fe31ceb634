"""Data as mmdet3d keeps them: clouds in `points/<scene>.bin`, boxes in info pickles; both ways."""
