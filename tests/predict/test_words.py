import pytest

from lightning_tl.predict.words import divide_words


@pytest.mark.parametrize(
    ("words", "options", "paths"),
    [
        ("a.jpg b --ckpt_path best c", "--ckpt_path best", "a.jpg b c"),
        ("--ckpt_path=best a --top_k -1 b", "--ckpt_path=best --top_k -1", "a b"),
        ("--null true - --output -", "--null true --output -", "-"),
        ("-c x.yaml a --help b", "-c x.yaml --help", "a b"),
        ("a -- --output -x.jpg -", "", "a --output -x.jpg -"),
        ("1e3 null [x] ~ --print_config a", "--print_config", "1e3 null [x] ~ a"),
        ("a --output", "--output", "a"),
    ],
)
def test_paths_stand_anywhere_among_options(words: str, options: str, paths: str) -> None:
    assert divide_words(words.split()) == (options.split(), paths.split())
