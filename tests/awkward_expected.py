"""Layers, additions, kernels and feeds of the awkward nets, written by hand.

A feed is written `source[channels] operations -> [input channels]`; of an addition `-> addend[channels]`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from viscnn.ingest.structure import Feed, LayerSpec


@dataclass(frozen=True)
class Expected:
    """What a net must be read as.

    Attributes:
        layers: names of the convolutions and linear layers in the order of execution.
        sums: number of additions.
        kernels: number of 2-D kernels, additions left out.
        feeds: of some targets, all feeds in order.
    """

    layers: str
    sums: int
    kernels: int
    feeds: dict[str, list[str]]


def shown(feed: Feed, target: LayerSpec) -> str:
    """A feed as it is written here."""
    steps = "".join(f"{operation.name} " for operation in feed.operations)
    addend = str(feed.addend) if target.is_sum else ""
    return f"{feed.source}[{_span(feed.reads)}] {steps}-> {addend}[{_span(feed.writes)}]"


def _span(numbers: Sequence[int]) -> str:
    first, last = numbers[0], numbers[-1]
    neighbours = len(numbers) > 1 and list(numbers) == list(range(first, last + 1))
    return f"{first}-{last}" if neighbours else ",".join(map(str, numbers))


JOINED = {
    "concat_of_concat": Expected(
        "a b c d",
        0,
        3 * 4 + 3 * 2 + 6 * 3 + 12 * 2,
        {
            "c": ["a[0-3] -> [0-3]", "b[0-1] relu -> [4-5]"],
            "d": ["a[0-3] -> [0-3]", "b[0-1] relu -> [4-5]", "c[0-2] -> [6-8]", "input[0-2] -> [9-11]"],
        },
    ),
    "dense_block": Expected(
        "stem c1 c2 c3",
        0,
        3 * 4 + 4 * 2 + 6 * 2 + 8 * 3,
        {
            "c2": ["stem[0-3] affine relu -> [0-3]", "c1[0-1] affine relu -> [4-5]"],
            "c3": [
                "stem[0-3] affine relu -> [0-3]",
                "c1[0-1] affine relu -> [4-5]",
                "c2[0-1] affine relu -> [6-7]",
            ],
        },
    ),
    "groups_across_a_concat": Expected(
        "a b c", 0, 3 * 3 + 3 * 3 + 6 * 2, {"c": ["a[0-2] -> [0-2]", "b[0-2] elu -> [3-5]"]}
    ),
    "concat_with_itself": Expected(
        "a b", 0, 3 * 2 + 6 * 3, {"b": ["a[0-1] -> [0-1]", "a[0-1] relu -> [2-3]", "a[0-1] tanh -> [4-5]"]}
    ),
    "fire": Expected(
        "squeeze one three last",
        0,
        3 * 2 + 2 * 4 + 2 * 4 + 8 * 3,
        {"three": ["squeeze[0-1] relu -> [0-1]"], "last": ["one[0-3] relu -> [0-3]", "three[0-3] relu -> [4-7]"]},
    ),
    "inception_block": Expected(
        "a b b3 c c5 d last",
        0,
        3 * 2 + 3 * 2 + 2 * 3 + 3 * 1 + 1 * 2 + 3 * 2 + 9 * 2,
        {
            "d": ["input[0-2] maxpool -> [0-2]"],
            "last": ["a[0-1] relu -> [0-1]", "b3[0-2] relu -> [2-4]", "c5[0-1] relu -> [5-6]", "d[0-1] relu -> [7-8]"],
        },
    ),
    "sum_behind_a_stride": Expected(
        "a b c",
        1,
        3 * 4 + 3 * 4 + 4 * 2,
        {"add": ["a[0-3] -> 0[0-3]", "b[0-3] -> 1[0-3]"], "c": ["add[0-3] relu -> [0-3]"]},
    ),
    "plus_itself": Expected("a b", 1, 3 * 4 + 4 * 2, {"add": ["a[0-3] -> 0[0-3]", "a[0-3] -> 1[0-3]"]}),
    "plus_its_relu_in_place": Expected(
        "a b", 1, 3 * 4 + 4 * 2, {"add": ["a[0-3] -> 0[0-3]", "a[0-3] relu -> 1[0-3]"], "b": ["add[0-3] -> [0-3]"]}
    ),
    "overwritten_by_its_relu": Expected(
        "a b c", 1, 3 * 4 + 4 * 4 + 4 * 2, {"add": ["b[0-3] -> 0[0-3]", "a[0-3] relu -> 1[0-3]"]}
    ),
    "overwritten_by_a_module": Expected(
        "a b c", 1, 3 * 4 + 4 * 4 + 4 * 2, {"add": ["b[0-3] -> 0[0-3]", "a[0-3] relu -> 1[0-3]"]}
    ),
    "overwritten_by_a_sum": Expected(
        "a b c",
        1,
        3 * 4 + 4 * 4 + 4 * 2,
        {"b": ["a[0-3] -> [0-3]"], "add": ["a[0-3] -> 0[0-3]", "b[0-3] -> 1[0-3]"], "c": ["add[0-3] sigmoid -> [0-3]"]},
    ),
    "scaled_residual": Expected(
        "a b c", 1, 3 * 4 + 4 * 4 + 4 * 2, {"add": ["a[0-3] -> 0[0-3]", "b[0-3] affine -> 1[0-3]"]}
    ),
    "reversed_difference": Expected(
        "a b c", 1, 3 * 4 + 3 * 4 + 4 * 2, {"add": ["a[0-3] affine -> 0[0-3]", "b[0-3] affine -> 1[0-3]"]}
    ),
    "option_a_shortcut": Expected(
        "stem a b c",
        1,
        3 * 4 + 4 * 8 + 8 * 8 + 8 * 2,
        {"add": ["b[0-7] -> 0[0-7]", "stem[0-3] relu crop -> 1[2-5]"], "c": ["add[0-7] relu -> [0-7]"]},
    ),
    "preactivated_residual": Expected(
        "stem a b c",
        1,
        3 * 4 + 4 * 4 + 4 * 4 + 4 * 2,
        {
            "a": ["stem[0-3] affine relu -> [0-3]"],
            "b": ["a[0-3] relu -> [0-3]"],
            "c": ["add[0-3] affine relu -> [0-3]"],
        },
    ),
    "broadcast_channel": Expected(
        "a b c", 1, 3 * 4 + 3 * 1 + 4 * 2, {"add": ["a[0-3] -> 0[0-3]", "b[0,0,0,0] relu -> 1[0-3]"]}
    ),
    "broadcast_position": Expected(
        "a b c", 1, 3 * 4 + 4 * 4 + 4 * 2, {"add": ["a[0-3] -> 0[0-3]", "b[0-3] expand -> 1[0-3]"]}
    ),
    "ends_with_a_sum": Expected("a b c", 1, 3 * 4 + 3 * 4 + 4 * 4, {"add": ["a[0-3] -> 0[0-3]", "c[0-3] -> 1[0-3]"]}),
    "sum_of_different_cuts": Expected(
        "a b c",
        1,
        3 * 4 + 3 * 6 + 4 * 2,
        {"add": ["a[2,3,0,1] -> 0[0-3]", "b[5,0,1,2] relu -> 1[0-3]"]},
    ),
    "shared_convolution": Expected(
        "s s#2 c",
        1,
        3 * 3 + 3 * 3 + 3 * 2,
        {"s#2": ["s[0-2] relu -> [0-2]"], "add": ["s[0-2] relu -> 0[0-2]", "s#2[0-2] -> 1[0-2]"]},
    ),
    "shared_on_two_resolutions": Expected(
        "s s#2 c",
        0,
        3 * 3 + 3 * 3 + 6 * 2,
        {"s#2": ["input[0-2] avgpool -> [0-2]"], "c": ["s[0-2] -> [0-2]", "s#2[0-2] relu interpolate -> [3-5]"]},
    ),
    "shared_norm": Expected("a b c", 1, 3 * 4 + 3 * 4 + 4 * 2, {"add": ["a[0-3] -> 0[0-3]", "b[0-3] -> 1[0-3]"]}),
    "norm_beside_its_convolution": Expected(
        "a b", 0, 3 * 4 + 8 * 3, {"b": ["a[0-3] affine relu -> [0-3]", "a[0-3] -> [4-7]"]}
    ),
    "different_functions_of_one_layer": Expected(
        "a b c d", 0, 3 * 4 + 4 * 2 + 4 * 2 + 4 * 2, {"b": ["a[0-3] relu -> [0-3]"], "c": ["a[0-3] -> [0-3]"]}
    ),
    "shuffled_channels": Expected("a b", 0, 3 * 4 + 4 * 2, {"b": ["a[0,2,1,3] relu -> [0-3]"]}),
    "shuffled_concat": Expected(
        "a b c", 0, 3 * 4 + 3 * 2 + 6 * 2, {"c": ["a[0,3,1,2] relu -> [0,1,2,4]", "b[0-1] -> [3,5]"]}
    ),
    "split_in_many_ways": Expected(
        "a b c d e f",
        0,
        3 * 6 + 2 * 2 + 2 * 2 + 3 * 2 + 2 * 2 + 8 * 3,
        {
            "b": ["a[0-1] relu -> [0-1]"],
            "c": ["a[4-5] -> [0-1]"],
            "d": ["a[3-5] -> [0-2]"],
            "e": ["a[1-2] -> [0-1]"],
            "f": ["b[0-1] -> [0-1]", "c[0-1] -> [2-3]", "d[0-1] -> [4-5]", "e[0-1] -> [6-7]"],
        },
    ),
    "half_of_the_channels": Expected("a b", 0, 3 * 4 + 2 * 3, {"b": ["a[1,3] relu -> [0-1]"]}),
    "permuted_by_numbers": Expected("a c b d", 1, 3 * 4 + 3 * 4 + 4 * 2 + 4 * 2, {"a": ["input[2,1,0] -> [0-2]"]}),
    "permuted_by_a_buffer": Expected("a b", 0, 3 * 4 + 3 * 2, {"b": ["a[2,0,3] -> [0-2]"]}),
    "focus": Expected(
        "a b", 0, 12 * 4 + 4 * 2, {"a": [f"input[0-2] crop -> [{start}-{start + 2}]" for start in (0, 3, 6, 9)]}
    ),
    "repeated_channels_scaled_apart": Expected("a b", 0, 3 * 3 + 5 * 2, {}),
    "zeros_by_concatenation": Expected(
        "a b c", 1, 3 * 2 + 3 * 4 + 4 * 2, {"add": ["a[0-1] relu -> 0[2-3]", "b[0-3] -> 1[0-3]"]}
    ),
    "shared_under_two_names": Expected(
        "parts.0 parts.1 parts.0#2 c", 0, 3 * 9 + 3 * 2, {"parts.0#2": ["parts.1[0-2] tanh -> [0-2]"]}
    ),
    "normalised_inside": Expected("a", 0, 3 * 2, {}),
    "transformed_input": Expected("a b", 0, 3 * 2 + 2 * 2, {}),
}

STEPPED = {
    "functional_everything": Expected(
        "#conv2d_1 #conv2d_2", 0, 3 * 4 + 2 * 4, {"#conv2d_2": ["#conv2d_1[0-3] relu maxpool -> [0-3]"]}
    ),
    "grouped_dilated_reflected": Expected("a b", 0, 8 + 8 * 2, {"b": ["a[0-7] leaky_relu -> [0-7]"]}),
    "one_channel_without_biases": Expected("a b", 0, 4 + 4 * 2, {"a": ["input[0] -> [0]"]}),
    "five_channels": Expected("a b", 0, 5 * 4 + 9 * 2, {"b": ["input[0-4] -> [0-4]", "a[0-3] relu -> [5-8]"]}),
    "depthwise_separable": Expected("a b c d", 0, 3 + 3 * 6 + 12 + 12 * 2, {"d": ["c[0-11] relu6 -> [0-11]"]}),
    "asymmetric_kernels": Expected("a b c", 0, 3 * 4 + 4 * 4 + 4 * 2, {"b": ["a[0-3] relu -> [0-3]"]}),
    "parametrised": Expected("a b c", 0, 3 * 4 + 4 * 4 + 4 * 2, {"c": ["b[0-3] relu -> [0-3]"]}),
    "norms_without_affine": Expected("a c", 0, 3 * 4 + 4 * 2, {"c": ["a[0-3] relu -> [0-3]"]}),
    "lrn_on_one_layer": Expected("a b", 0, 3 * 6 + 6 * 2, {"b": ["a[0-5] relu lrn maxpool -> [0-5]"]}),
    "group_norms": Expected(
        "a b c",
        0,
        3 * 4 + 4 * 6 + 6 * 2,
        {"b": ["a[0-3] groupnorm relu -> [0-3]"], "c": ["b[0-5] groupnorm relu -> [0-5]"]},
    ),
    "prelus": Expected(
        "a b c", 0, 3 * 4 + 4 * 4 + 4 * 2, {"b": ["a[0-3] prelu -> [0-3]"], "c": ["b[0-3] prelu -> [0-3]"]}
    ),
    "pools_beyond_the_edge": Expected(
        "a b c",
        0,
        3 * 4 + 4 * 4 + 4 * 2,
        {
            "a": ["input[0-2] maxpool -> [0-2]"],
            "b": ["a[0-3] maxpool -> [0-3]"],
            "c": ["b[0-3] avgpool -> [0-3]"],
        },
    ),
    "adaptive_pools": Expected(
        "a b c",
        0,
        3 * 4 + 4 * 3 + 3 * 2,
        {"b": ["a[0-3] relu adaptive_avgpool -> [0-3]"], "c": ["b[0-2] adaptive_maxpool -> [0-2]"]},
    ),
    "upsampled_with_a_skip": Expected(
        "a b c d e",
        0,
        3 * 4 + 4 * 4 + 4 * 4 + 8 * 3 + 3 * 2,
        {"d": ["c[0-3] relu interpolate -> [0-3]", "a[0-3] relu -> [4-7]"], "e": ["d[0-2] interpolate -> [0-2]"]},
    ),
    "interpolated": Expected("a b", 0, 3 * 4 + 4 * 2, {"b": ["a[0-3] interpolate interpolate interpolate -> [0-3]"]}),
    "steps_that_do_nothing": Expected("a b", 0, 3 * 4 + 4 * 2, {"b": ["a[0-3] relu -> [0-3]"]}),
    "sizes_decide": Expected("a b", 0, 3 * 4 + 4 * 2, {"b": ["a[0-3] maxpool relu relu -> [0-3]"]}),
    "rectangles": Expected(
        "a b", 0, 3 * 4 + 4 * 2, {"a": ["input[0-2] crop -> [0-2]"], "b": ["a[0-3] relu crop -> [0-3]"]}
    ),
    "flattened_head": Expected("a fc", 0, 3 * 4 + 4 * 5, {"fc": ["a[0-3] relu maxpool -> [0-3]"]}),
    "two_linear_heads": Expected(
        "a fc1 fc2",
        0,
        3 * 4 + 4 * 6 + 6 * 5,
        {"fc1": ["a[0-3] relu maxpool -> [0-3]"], "fc2": ["fc1[0-5] relu -> [0-5]"]},
    ),
    "pooled_heads": Expected("a b fc", 0, 3 * 4 + 4 * 4 + 8 * 5, {}),
    "residual_head": Expected("a b fc1 fc2", 1, 3 * 4 + 4 * 4 + 4 * 4 + 4 * 5, {"fc2": ["add[0-3] -> [0-3]"]}),
    "recurrent_head": Expected("a", 0, 3 * 4, {"a": ["input[0-2] -> [0-2]"]}),
    "heads_of_two_layers": Expected("a b fc fc2", 1, 3 * 4 + 4 * 2 + 2 * 5 + 4 * 5, {}),
}

BLOCKED = {
    "squeeze_and_excite": Expected(
        "a down up b",
        0,
        3 * 4 + 4 * 2 + 2 * 4 + 4 * 2,
        {
            "down": ["a[0-3] silu adaptive_avgpool -> [0-3]"],
            "up": ["down[0-1] silu -> [0-1]"],
            "b": ["a[0-3] silu gate -> [0-3]"],
        },
    ),
    "squeeze_and_excite_by_linear_layers": Expected("a fc.0 fc.2 b", 1, 3 * 4 + 4 * 2 + 2 * 4 + 4 * 2, {}),
    "gate_of_two_poolings": Expected(
        "a down up down#2 up#2 b", 1, 3 * 4 + 2 * (4 * 2 + 2 * 4) + 4 * 2, {"b": ["a[0-3] relu gate -> [0-3]"]}
    ),
    "spatial_gate": Expected("a g b", 0, 3 * 4 + 4 * 1 + 4 * 2, {"b": ["a[0-3] gate -> [0-3]"]}),
    "gate_on_a_concat": Expected(
        "a b down up c d",
        0,
        3 * 4 + 3 * 2 + 6 * 2 + 2 * 6 + 6 * 4 + 9 * 2,
        {
            "c": ["a[0-3] gate -> [0-3]", "b[0-1] relu gate -> [4-5]"],
            "d": ["c[0-3] -> [0-3]", "a[1-3] gate -> [4-6]", "b[0-1] relu gate -> [7-8]"],
        },
    ),
    "shufflenet_unit": Expected(
        "stem one dw two c",
        0,
        3 * 4 + 2 * 2 + 2 + 2 * 2 + 4 * 3,
        {"one": ["stem[2-3] -> [0-1]"], "c": ["stem[0-1] -> [0,2]", "two[0-1] relu -> [1,3]"]},
    ),
    "convnext_block": Expected(
        "stem block.0 block.3 block.5 c",
        1,
        3 * 4 + 4 + 4 * 8 + 8 * 4 + 4 * 2,
        {
            "block.3": ["block.0[0-3] layernorm -> [0-3]"],
            "block.5": ["block.3[0-7] gelu -> [0-7]"],
            "add": ["stem[0-3] -> 0[0-3]", "block.5[0-3] affine -> 1[0-3]"],
        },
    ),
    "layer_norms_over_channels": Expected(
        "a b c",
        0,
        3 * 4 + 4 * 4 + 4 * 2,
        {"b": ["a[0-3] layernorm -> [0-3]"], "c": ["b[0-3] relu layernorm -> [0-3]"]},
    ),
    "bottleneck": Expected(
        "stem.0 a.0 b.0 c.0 down.0 last",
        1,
        3 * 4 + 4 * 2 + 2 + 2 * 6 + 4 * 6 + 6 * 2,
        {"add": ["c.0[0-5] -> 0[0-5]", "down.0[0-5] -> 1[0-5]"], "last": ["add[0-5] relu -> [0-5]"]},
    ),
    "nested_sequentials": Expected(
        "trunk.entry.0 trunk.middle.0.0 last",
        0,
        3 * 4 + 4 * 4 + 4 * 2,
        {"trunk.middle.0.0": ["trunk.entry.0[0-3] relu -> [0-3]"], "last": ["trunk.middle.0.0[0-3] relu -> [0-3]"]},
    ),
    "feature_pyramid": Expected(
        "stem cells.0.down cells.0.side cells.1.down cells.1.side cells.2.down cells.2.side last",
        0,
        3 * 4 + 3 * (4 * 4 + 4 * 2) + 6 * 2,
        {"cells.2.side": ["cells.2.down[0-3] relu -> [0-3]"]},
    ),
    "res2net_block": Expected("a stem b c d e", 2, 3 * 4 + 4 * 8 + 3 * 4 + 8 * 2, {"b": ["stem[2-3] -> [0-1]"]}),
    "cross_stage_partial": Expected(
        "stem one two three last",
        0,
        3 * 4 + 4 * 2 + 2 * 2 + 2 * 2 + 8 * 2,
        {
            "last": [
                "one[0,1,0,1] -> [0-3]",
                "two[0-1] silu -> [4-5]",
                "three[0-1] silu -> [6-7]",
            ]
        },
    ),
    "pixels_to_channels": Expected("a b", 0, 3 * 2 + 8 * 3, {}),
    "tokens": Expected("a b c d", 1, 3 * 4 + 4 * 6 + 6 * 4 + 4 * 2, {}),
    "learnt_scales": Expected(
        "stem blocks.0.add blocks.1.add blocks.2.add last",
        3,
        3 * 4 + 3 * 4 * 4 + 4 * 2,
        {"blocks.1.add": ["blocks.0.add#2[0-3] -> [0-3]"], "last": ["blocks.2.add#2[0-3] -> [0-3]"]},
    ),
    "names_that_are_taken": Expected(
        "input#1 add gate last",
        2,
        3 * 4 + 2 * 4 * 4 + 4 * 2,
        {"add": ["input#1[0-3] -> [0-3]"], "gate": ["add#2[0-3] -> [0-3]"], "last": ["add#3[0-3] -> [0-3]"]},
    ),
    "helper_of_training": Expected("a b last", 0, 3 * 4 + 4 * 4 + 4 * 2, {"b": ["a[0-3] relu -> [0-3]"]}),
}

EXPECTED = JOINED | STEPPED | BLOCKED
"""By the net's name."""
