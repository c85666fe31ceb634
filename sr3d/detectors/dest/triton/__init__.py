"""The selective scan as Triton kernels, compiled at run time.

Tested in Triton's interpreter against the recurrence, and compiled for sm_80, sm_89 and sm_90. Not
tested: nothing has run on a GPU yet.
"""
