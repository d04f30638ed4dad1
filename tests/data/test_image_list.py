"""Lists of pictures and labels, as PaddleClas and as spreadsheets write them."""

import numpy as np
import pytest
from PIL import Image

from ppcoordconv.data import DATASETS
from ppcoordconv.utils.errors import UserError
from ppcoordconv.utils.progress import flush_deferred

FILES = [f"{label}/{i}.png" for label in ("cat", "dog") for i in range(5)]


@pytest.fixture
def folder(tmp_path):
    for name in [*FILES, "my pictures/a b.png"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / name)
    return tmp_path


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))


def read(folder, **options):
    return DATASETS.build("image_list", path=str(folder), **options)


def refusal(folder, **options):
    with pytest.raises(UserError) as caught:
        read(folder, **options)
    return str(caught.value)


def pairs(folder, data, part="train"):
    samples = getattr(data, part)
    return {(str(path.relative_to(folder)), data.labels[c]) for path, c in zip(samples.images, samples.classes)}


def test_lists_of_paddleclas(folder, capsys):
    write(folder / "train_list.txt", "".join(f"{name} {int('dog' in name)}\n" for name in FILES[:8]))
    write(folder / "val_list.txt", "dog/3.png 1\ncat/4.png 0\n")
    write(folder / "labels.txt", "0 tabby cat\n1 dog\n")
    data = read(folder, test="val_list.txt", labels="labels.txt")
    assert data.labels == ["tabby cat", "dog"]
    assert pairs(folder, data) == {(n, "dog" if "dog" in n else "tabby cat") for n in FILES[:8]}
    assert pairs(folder, data, "test") == {("dog/3.png", "dog"), ("cat/4.png", "tabby cat")}
    flush_deferred()
    assert "8 pictures to train on, 2 held out: those in val_list.txt; 2 classes, from 4" in capsys.readouterr().err
    assert read(folder, test="val_list.txt").labels == ["0", "1"]


def test_without_a_list_of_what_is_held_out_a_fifth_of_each_class_is(folder):
    write(folder / "all.txt", "".join(f"{name}\t{name[:3]}\n" for name in FILES))
    data = read(folder, train="all.txt")
    assert pairs(folder, data) | pairs(folder, data, "test") == {(name, name[:3]) for name in FILES}
    assert np.bincount(data.test.classes).tolist() == [1, 1]
    others = [pairs(folder, read(folder, train="all.txt", split_seed=seed), "test") for seed in range(5)]
    assert any(other != others[0] for other in others)


def test_a_picture_that_is_listed_twice_is_not_on_both_sides_of_a_split(folder, capsys):
    write(
        folder / "train_list.txt",
        "".join(f"{name} cat\n./{name} cat\n" for name in FILES[:5]) + "dog/0.png dog\ndog/1.png dog\n",
    )
    for seed in range(5):
        data = read(folder, split_seed=seed)
        assert sorted(map(str, [*data.train.images, *data.test.images])) == [str(folder / name) for name in FILES[:7]]
    flush_deferred()
    assert "train_list.txt: pictures that are listed twice, and count once: 5 of 12\n" in capsys.readouterr().err


def test_pictures_that_are_trained_on_and_held_out_are_said(folder, capsys):
    write(folder / "train_list.txt", "".join(f"{name} {name[:3]}\n" for name in [*FILES, *FILES]))
    write(folder / "test.txt", "my pictures/a b.png\tcat\n./dog/0.png\tdog\n")
    assert len(read(folder, test="test.txt").train) == 20  # who gives both lists may repeat what is trained on
    flush_deferred()
    assert "1 of 2 pictures in test.txt are trained on, too, the first " in capsys.readouterr().err


def test_columns_of_csv_that_are_not_used_are_said(folder, capsys):
    write(
        folder / "train.csv", "image,cat,dog,bird\ncat/0.png,1,0,0\ncat/1.png,1,0,0\ndog/0.png,0,1,0\ndog/1.png,0,1,0\n"
    )
    read(folder, train="train.csv")
    flush_deferred()
    assert "train.csv: its columns after the second are not used: dog, bird\n" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "cat/0.png cat\ndog/0.png dog\nmy pictures/a b.png cat\n",
        "\ufeffcat/0.png cat\r\n\r\ndog/0.png dog\r\nmy pictures/a b.png cat",
        "cat\\0.png\tcat\ndog\\0.png\tdog\n  my pictures\\a b.png \t cat \n",
    ],
)
def test_forms_of_a_list(folder, text):
    write(folder / "train_list.txt", text)
    write(folder / "test.txt", "cat/1.png cat\n")
    data = read(folder, test="test.txt")
    assert pairs(folder, data) == {("cat/0.png", "cat"), ("dog/0.png", "dog"), ("my pictures/a b.png", "cat")}


@pytest.mark.parametrize(
    "text",
    [
        "image,label\ncat/0.png,my cat\nmy pictures/a b.png,dog\n",
        "cat/0.png,my cat\nmy pictures/a b.png,dog\n",
        '\ufeffpath,class,width\r\n"cat\\0.png", "my cat",3\r\n\r\nmy pictures/a b.png,dog,3\r\n',
    ],
)
def test_forms_of_csv(folder, text):
    write(folder / "train.CSV", text)
    write(folder / "test.csv", "image,label\ncat/1.png,dog\n")
    data = read(folder, train="train.CSV", test="test.csv")
    assert pairs(folder, data) == {("cat/0.png", "my cat"), ("my pictures/a b.png", "dog")}


def test_labels_are_in_the_order_of_their_numbers(folder):
    write(folder / "train_list.txt", "".join(f"{name} {10 - i}\n" for i, name in enumerate(FILES)))
    write(folder / "test.txt", "cat/0.png 10\n")
    assert read(folder, test="test.txt").labels == [str(n) for n in range(1, 11)]
    write(folder / "labels.txt", "10 ten\n7 seven\n" + "".join(f"{n}\tn{n}\n" for n in (1, 2, 3, 4, 5, 6, 8, 9)))
    data = read(folder, test="test.txt", labels="labels.txt")
    assert data.labels == ["n1", "n2", "n3", "n4", "n5", "n6", "seven", "n8", "n9", "ten"]
    assert pairs(folder, data, "test") == {("cat/0.png", "ten")}


def test_pictures_that_are_missing_are_left_out_with_skip(folder, capsys):
    write(folder / "train_list.txt", "cat/0.png a\ncat/nowhere.png a\ndog/0.png b\n")
    write(folder / "test.txt", "cat/1.png a\n")
    assert len(read(folder, test="test.txt", on_error="skip").train) == 2
    assert "1 of 3 pictures can't be read and are left out, the first: there is no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat/0.png a\n\ndog/0.png\n", "train_list.txt, line 3: takes a picture and its label, got 'dog/0.png'"),
        ("cat/0.png a\ndog/9.png b\n", "train_list.txt, line 2: there is no file '.*dog/9.png'"),
        ("cat/0.png a\ndog b\n", "train_list.txt, line 2: there is no file '.*dog'"),
        ("cat/0.png a\nx\0.png b\n", "train_list.txt, line 2: there is no file "),
        (f"cat/0.png a\ndog/0.png {'b' * 1001}\n", "line 2: a label is a text of at most 1000 letters, got 'bbb"),
        (
            "cat/0.png a\ndog/0.png b\n./cat/0.png b\n",
            "line 3: a picture has one label, and ./cat/0.png has 'b' here, 'a' in line 1",
        ),
        (" \n\n", "train_list.txt names no picture; a line takes a picture and its label"),
        ("cat/0.png a\ncat/1.png a\n", "at least 2 classes are needed, and .*train_list.txt has 1"),
        ("cat/0.png a\ncat/1.png a\ndog/1.png b\n", "train_list.txt: the class 'b' has one picture; at least 2"),
    ],
)
def test_wrong_lists(folder, text, words):
    write(folder / "train_list.txt", text)
    with pytest.raises(UserError, match=words):
        read(folder)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "train.csv names no picture"),
        ("image,label\n", "train.csv names no picture"),
        ("image,label\ncat/0.png,\n", "train.csv, line 2: takes a picture and its label, got 'cat/0.png'"),
        ("cat/0.png;a\n", "train.csv, line 1: takes a picture and its label, got 'cat/0.png;a'"),
        ("image,label\n,a\n", "train.csv, line 2: takes a picture and its label, got 'a'"),
        ("image,label\n7,a\n", "train.csv, line 2: there is no file '.*/7'"),
        (f"image,label\n{'x' * 200_000},a\n", "train.csv, line 2: field larger than field limit"),
    ],
)
def test_wrong_csv(folder, text, words):
    write(folder / "train.csv", text)
    with pytest.raises(UserError, match=words):
        read(folder, train="train.csv")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 cat\ndog\n", "labels.txt, line 2: takes an id, a whole number, and a name, got 'dog'"),
        ("0 cat\n1\n", "labels.txt, line 2: takes an id, a whole number, and a name, got '1'"),
        ("cat 0\n", "labels.txt, line 1: takes an id, "),
        ("0 cat\n0 dog\n", "labels.txt, line 2: its id or its name is there twice: '0 dog'"),
        ("0 cat\n1 cat\n", "labels.txt, line 2: its id or its name is there twice: '1 cat'"),
        ("0 cat\n2 dog\n", "train_list.txt, line 2: there is no label '1'; the labels are 'cat', 'dog', '0', '2'"),
        ("0 cat\n1 dog\n2 bird\n", "the class 'bird' has no picture that can be read; at least 2"),
        (f"0 {'c' * 1001}\n", "labels.txt, line 1: a label is a text of at most 1000 letters"),
    ],
)
def test_wrong_files_of_labels(folder, text, words):
    write(folder / "train_list.txt", "cat/0.png 0\ndog/0.png 1\ncat/1.png 0\ndog/1.png 1\n")
    write(folder / "labels.txt", text)
    with pytest.raises(UserError, match=words):
        read(folder, labels="labels.txt")


def test_labels_that_were_not_trained_on(folder):
    write(folder / "train_list.txt", "cat/0.png a\ndog/0.png b\n")
    write(folder / "test.txt", "cat/1.png a\ndog/1.png c\n")
    assert "test.txt, line 2: there is no label 'c'; the labels are 'a', 'b'" in refusal(folder, test="test.txt")
    write(folder / "labels.txt", "0 a\n1 b\n2 c\n")
    assert "the class 'c' has no picture that can be read to train on" in refusal(
        folder, test="test.txt", labels="labels.txt"
    )


def test_files_that_are_not_there_or_not_utf_8(folder):
    assert "there is no file " in refusal(folder)
    write(folder / "train_list.txt", "cat/0.png Käfer\n", "latin-1")
    assert "train_list.txt is not UTF-8: " in refusal(folder)
    assert "is a folder, not a file" in refusal(folder, train="cat")


@pytest.mark.parametrize("options", [{"train": 5}, {"test": 5}, {"labels": ""}, {"split_seed": "a"}, {"on_error": 1}])
def test_wrong_options(folder, options):
    (name,) = options
    with pytest.raises(UserError, match=f"^{name} takes "):
        read(folder, **options)
