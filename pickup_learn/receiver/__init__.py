"""Write the receiver: ten steps, each checked by the cases of the attack bench that belong to it. ``make receiver``."""
