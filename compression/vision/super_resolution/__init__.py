"""Super-resolution of pictures: EDSR, small students distilled from it, exits trained by self-distillation."""
