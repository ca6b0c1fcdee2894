"""The reviewer pack: what a journal asks for besides the manuscript, written from the documents of a run."""
