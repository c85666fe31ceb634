"""VoteNet: points vote for object centres, and clusters of votes become boxes."""
