"""Why a claim or a pod is as it is: the answer as a value, for ``explain`` to write.

Facts come from what the platform has published; nothing is judged anew here.
"""
