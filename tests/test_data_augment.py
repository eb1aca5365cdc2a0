"""Augmentations move pixels and blank them, each image by itself, as the generator says; they make no new values."""

import pytest
import torch

from raynas.data.augment import AUGMENTATIONS, RECIPES, augmentation, crop, cutout, flip, shift
from raynas.tables import InputError

MOVING = [name for name in RECIPES if name != "none"]
SHAPES = [(16, 1, 28, 28), (16, 3, 32, 32), (8, 3, 12, 40), (8, 1, 8, 8), (1, 3, 9, 33)]
LAYOUTS = {"channels last": torch.channels_last, "contiguous": torch.contiguous_format}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, dtype=torch.float32, layout=torch.channels_last):
    return torch.randn(shape, generator=seeded(99)).to(dtype).contiguous(memory_format=layout)


def numbered(count, height, width):
    """Every pixel holds its own place, from 1."""
    return torch.arange(1.0, height * width + 1).view(1, 1, height, width).repeat(count, 1, 1, 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", RECIPES)
def test_shape_type_layout_and_values_stay(name, shape, layout, dtype):
    images = noise(*shape, dtype=dtype, layout=layout)
    before = images.clone()
    moved = augmentation(name)(images, seeded())
    assert (moved.shape, moved.dtype, moved.device) == (images.shape, dtype, images.device)
    assert moved.is_contiguous(memory_format=layout)
    assert torch.equal(images, before)
    values = torch.cat([images.flatten().float(), torch.zeros(1)])
    assert torch.isin(moved.flatten().float(), values).all()


@pytest.mark.parametrize("name", MOVING)
def test_the_generator_is_all_the_randomness_there_is(name):
    images, augment = noise(32, 3, 16, 16), augmentation(name)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one, same, other = augment(images, seeded(5)), augment(images, seeded(5)), augment(images, seeded(6))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert not torch.equal(one, images)
    assert torch.equal(state, torch.random.get_rng_state())
    generator = seeded(5)
    assert torch.equal(augment(images, generator), one)
    assert not torch.equal(augment(images, generator), one)  # the generator went on


@pytest.mark.parametrize("name", MOVING)
def test_images_of_a_batch_move_differently_and_their_channels_together(name):
    one = noise(1, 1, 16, 16)
    images = one.repeat(64, 3, 1, 1).contiguous(memory_format=torch.channels_last)
    moved = augmentation(name)(images, seeded())
    assert len(torch.unique(moved.flatten(1), dim=0)) > 1
    assert torch.equal(moved[:, 0], moved[:, 1])
    assert torch.equal(moved[:, 0], moved[:, 2])


def test_flip_mirrors_half_of_the_images_left_to_right():
    images = noise(2000, 1, 3, 5)
    moved = flip(images, seeded())
    same, mirrored = ((moved == of).flatten(1).all(dim=1) for of in (images, images.flip(3)))
    assert (same ^ mirrored).all()
    assert 0.45 < mirrored.float().mean() < 0.55
    assert torch.equal(flip(moved, seeded()), images)  # the same draws again undo it


@pytest.mark.parametrize(
    ("augment", "height", "width", "reach"),
    [(shift, 9, 9, 2), (shift, 8, 20, 2), (crop, 32, 32, 4), (crop, 28, 28, 4), (crop, 8, 8, 1), (crop, 16, 40, 2)],
)
def test_crop_and_shift_move_a_whole_image_by_up_to_their_reach(augment, height, width, reach):
    moved = augment(numbered(1500, height, width), seeded())[:, 0]
    rows, columns = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    seen = set()
    for image in moved:
        there = image > 0
        places = (image.long() - 1)[there]
        down = (rows.expand_as(image)[there] - places // width).unique()
        right = (columns.expand_as(image)[there] - places % width).unique()
        assert len(down) == len(right) == 1
        seen.add((int(down), int(right)))
        # exactly what moved in from outside is zero
        inside = (rows - down >= 0) & (rows - down < height) & (columns - right >= 0) & (columns - right < width)
        assert torch.equal(there, inside)
    assert {abs(move) for pair in seen for move in pair} == set(range(reach + 1))
    assert len(seen) == (2 * reach + 1) ** 2  # every move, each way


@pytest.mark.parametrize(("height", "width"), [(28, 28), (32, 32), (8, 8), (16, 40)])
def test_cutout_blanks_one_square_of_half_the_side_centred_anywhere(height, width):
    side = min(height, width) // 2
    holes = cutout(torch.ones(3000, 1, height, width), seeded())[:, 0] == 0
    heights, widths = holes.any(dim=2).sum(dim=1), holes.any(dim=1).sum(dim=1)
    assert torch.equal(holes.sum(dim=(1, 2)), heights * widths)  # a full rectangle
    assert (int(heights.max()), int(widths.max())) == (side, side)
    assert (int(heights.min()), int(widths.min())) == (side // 2, side // 2)  # cut by the border, never gone
    assert holes.any(dim=0).all()
    middle = holes[:, side:-side, side:-side].float().mean() if height > 2 * side else None
    assert middle is None or abs(float(middle) - side * side / (height * width)) < 0.02


def test_recipes_are_their_steps_in_order():
    images = noise(16, 3, 32, 32)
    generator = seeded(7)
    step_by_step = cutout(flip(crop(images, generator), generator), generator)
    assert torch.equal(augmentation("strong")(images, seeded(7)), step_by_step)
    generator = seeded(7)
    assert torch.equal(augmentation("standard")(images, seeded(7)), flip(crop(images, generator), generator))
    assert augmentation("none")(images, seeded()) is images
    for name, augment in AUGMENTATIONS.items():
        assert torch.equal(augmentation(name)(images, seeded(3)), augment(images, seeded(3)))


def test_an_unknown_recipe_gets_the_nearest():
    with pytest.raises(InputError, match=r"unknown augmentation 'standart'. Did you mean 'standard'\?.*cutout"):
        augmentation("standart")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("name", MOVING)
def test_on_a_gpu_nothing_leaves_it(name):
    images = noise(16, 3, 32, 32).cuda()
    generator = torch.Generator("cuda").manual_seed(0)
    torch.cuda.set_sync_debug_mode("error")  # a step must not wait for the device
    try:
        moved = augmentation(name)(images, generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert moved.device == images.device
    assert not torch.equal(moved, images)
