"""BRNet: VoteNet's proposals, refined by the seeds around points traced back from each."""
