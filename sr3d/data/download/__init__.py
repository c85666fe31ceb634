"""Downloads of the raw data sets from their publishers' servers, complete or resumable."""
