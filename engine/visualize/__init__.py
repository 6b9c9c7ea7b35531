"""Feature visualisations: images that drive a filter, a kernel, a direction or a logit as far up, or down, as can be.

`objectives` says what is driven, `network` runs the model only as far as that needs (masked by a circuit where asked),
`redirected` lets gradients past dead ReLUs, `spectrum` is the image as a spectrum, `views` jitters, scales and turns
it, `optimise` climbs for many images at once, `cache` keeps PNG files by content, and `render` is all of it. `lucent`
is the same by torch-lucent, where that is installed.
"""
