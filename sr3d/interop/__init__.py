"""What other projects' programs and files need of ours, and ours of theirs. Nothing imports it but
the command.
"""
