"""What the client returns: plain values with NumPy arrays, and names without their `galleries/.../images/` part."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from whymatch.client.errors import WhymatchError
from whymatch.client.value import Value

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class Image(Value):
    """One image of a gallery."""

    name: str
    label: str
    metadata: Mapping[str, str | float | bool] = field(hash=False)
    width_px: int
    """Of the upright image, as is `height_px`."""
    height_px: int
    size_bytes: int
    content_sha256: str
    create_time: datetime
    """When it was added, in UTC."""
    update_time: datetime
    """When its label, metadata or bytes last changed, in UTC."""


@dataclass(frozen=True)
class LabelCount(Value):
    """A label and how many images have it."""

    label: str
    """Empty for the images without one."""
    count: int


@dataclass(frozen=True)
class Provenance(Value):
    """Where an answer comes from: enough to tell later whether the same call would have the same answer."""

    gallery: str
    """That the answer rests on; empty if it rests on none, and so are the fields up to `image_count`."""
    gallery_create_time: datetime | None
    """In UTC; a gallery that was deleted and made again counts its generations anew."""
    generation: int
    """Of the gallery when the work began, as `Gallery.generation`."""
    image_count: int
    """How many images the gallery held then."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    headless_model: str
    """The fingerprint of the model below the head."""
    backbone: str
    """The network's name."""
    head: str
    """`centering`, `whitening`, `linear`, or `none`."""
    head_version: int
    """Which of the heads that the gallery has had, from 1; 0 without one."""
    index: str
    """The FAISS factory string of the gallery's index, `Flat` for example."""
    exact: bool
    """True if that index never misses a match, False if it is approximate."""
    query_sha256: str
    """Of the file of the query, or of the image that is explained, in hexadecimal; empty if there is none."""
    match_sha256: str
    """Of the file of the match that a call names; matches of a search have theirs in `Match.image`."""
    server_version: str
    """Of whymatch, as the server runs it."""
    request_id: str
    """The name of the call, which the server's log has, too."""
    example_sha256: tuple[str, ...] = ()
    """Of the file of each example of a search by examples, in their order; empty for an embedding."""


@dataclass(frozen=True)
class Head(Value):
    """A linear map that stands between the pooled vector of an image and its embedding."""

    kind: str
    """`centering`, `whitening` or `linear`."""
    dimensions: int
    """Length of an embedding."""
    version: int
    """Counts the heads that the gallery has had, from 1."""
    image_count: int
    """How many images it was fitted to; 0 for a layer that was given."""
    model: str
    """The fingerprint of the model below the head."""
    create_time: datetime
    """In UTC."""


@dataclass(frozen=True)
class Gallery(Value):
    """A named collection of images that one model embedded."""

    name: str
    model: str
    """The fingerprint of what makes its embeddings: the model and the head."""
    index_factory: str
    omit_feature_maps: bool
    image_count: int
    create_time: datetime
    """In UTC."""
    head: Head | None = None
    """None without a head."""
    generation: int = 0
    """Grows with every change of its images or its head."""
    oldest_generation: int = 0
    """The first that can still be asked for."""


@dataclass(frozen=True)
class Generation(Value):
    """A state of a gallery."""

    number: int
    change: str
    """What made it: `create`, `add`, `update`, `delete`, `erase`, `head`, `import` or `migrate`."""
    create_time: datetime
    """In UTC."""
    tags: tuple[str, ...]
    """The names that it was given; with one, it is not purged."""


@dataclass(frozen=True)
class Purged(Value):
    """What a purge left of a gallery."""

    gallery: Gallery
    removed_file_count: int
    """How many image files went with the older generations."""


@dataclass(frozen=True)
class Layer(Value):
    """A layer of the network whose neurons InterActive can weigh."""

    name: str
    aliases: Sequence[str]
    """Other names of the same layer."""
    channels: int
    has_units: bool = True
    """Whether it has rows and columns, so that `units` can look at its channels."""


@dataclass(frozen=True)
class Model(Value):
    """The network that a server runs."""

    fingerprint: str
    backbone: str
    layer: str
    pooling: str
    precision: str
    dimensions: int
    """Length of an embedding without a head."""
    description: Mapping[str, object] = field(hash=False)
    """Everything that the fingerprint covers."""
    layers: Sequence[Layer] = ()
    """From the image upward; none if the network has no ReLU."""


@dataclass(frozen=True)
class ServerLimits(Value):
    """What a server accepts."""

    max_message_bytes: int
    max_image_bytes: int
    max_image_pixels: int
    """Width times height."""
    max_limit: int
    """Matches of one search."""
    max_concurrent_calls: int


@dataclass(frozen=True)
class Disk(Value):
    """The file system that holds the data of a server, with all else that is on it."""

    total_bytes: int
    used_bytes: int
    free_bytes: int
    """What the server may still write."""


@dataclass(frozen=True)
class ServerInfo(Value):
    """A server: what runs, what it accepts, and how full its disk is."""

    version: str
    """Of whymatch."""
    faiss_version: str
    torch_version: str
    uptime_s: float
    model: Model
    limits: ServerLimits
    disk: Disk
    gallery_count: int
    """Those of other models are counted, too."""


@dataclass(frozen=True)
class Box(Value):
    """A rectangle in pixels of the upright original image. The first pixel spans 0 to 1."""

    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


@dataclass(frozen=True)
class ColorScale(Value):
    """The values that the two ends of the color map stand for, shared by all overlays of one answer."""

    low: float
    high: float
    color_map: str
    """Its matplotlib name."""


@dataclass(frozen=True, eq=False)
class SimilarityMap(Value):
    """Where in one image its similarity to another lies: one value for each cell of a grid, adding up to the score."""

    values: NDArray[np.float32]
    """(rows, columns); each is a share of the cosine score, positive for a match."""
    total: float
    """The sum of the values."""
    width_px: int
    """Of the upright image, as is `height_px`."""
    height_px: int
    area: Box
    """The part of the image that the grid covers; the cells divide it evenly."""
    best_box: Box | None
    """The smallest box of whole cells that holds `box_share` of all positive values; None if no value is positive."""
    overlay_png: bytes = field(default=b"", repr=False)
    """The map drawn over the image; empty unless asked for."""

    def overlay(self) -> PIL.Image.Image:
        """Return the map drawn over the image."""
        return _picture(self.overlay_png)

    def share_in(self, box: Box) -> float:
        """Return the share of all positive values in the cells of a box, 0 to 1, for a box of whole cells."""
        (rows, columns), area = self.values.shape, self.area
        x_px = area.left_px + (np.arange(columns) + 0.5) / columns * (area.right_px - area.left_px)  # centers of cells
        y_px = area.top_px + (np.arange(rows) + 0.5) / rows * (area.bottom_px - area.top_px)
        across = (box.left_px < x_px) & (x_px < box.right_px)
        down = (box.top_px < y_px) & (y_px < box.bottom_px)
        positive = self.values.clip(min=0)
        return float(positive[np.ix_(down, across)].sum() / positive.sum()) if positive.any() else 0.0


@dataclass(frozen=True, eq=False)
class Match(Value):
    """One image that a search found."""

    image: Image
    score: float
    """What the matches are ordered by: `image_score`, or the part of it that lies in the regions that were given."""
    image_score: float
    """Cosine similarity of the whole images, -1 to 1."""
    query_map: SimilarityMap | None
    """Where in the query `score` lies; None unless asked for, and in a search by embedding."""
    match_map: SimilarityMap | None
    """Where in the match `score` lies; None unless asked for."""
    shares: tuple[float, ...] = ()
    """What each example contributes to `score`, those of `like` before those of `unlike`; they add up to it."""
    example_maps: tuple[SimilarityMap | None, ...] = ()
    """Where in each example its share lies, None in an embedding; empty unless asked for."""
    folded: tuple[Match, ...] = ()
    """The matches that `fold_above` folded into this one, best first, without maps."""

    def __repr__(self) -> str:
        return f"Match({self.name!r}, label={self.label!r}, score={self.score:.4f})"

    @property
    def name(self) -> str:
        """The name of the image."""
        return self.image.name

    @property
    def label(self) -> str:
        """The label of the image."""
        return self.image.label

    @property
    def region_share(self) -> float:
        """The share of `image_score` in the regions; 1 without regions, 0 if `image_score` is not positive."""
        return self.score / self.image_score if self.image_score > 0 else 0.0


@dataclass(frozen=True, eq=False)
class SearchResult(Value, Sequence[Match]):
    """The matches of a search, best first."""

    matches: tuple[Match, ...]
    model: str
    """The fingerprint of the model and the gallery's head."""
    color_scale: ColorScale | None
    """The scale of the overlays, if there are any."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""

    def __iter__(self) -> Iterator[Match]:
        return iter(self.matches)

    def __len__(self) -> int:
        return len(self.matches)

    @overload
    def __getitem__(self, index: int) -> Match: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Match, ...]: ...
    def __getitem__(self, index: int | slice) -> Match | tuple[Match, ...]:
        return self.matches[index]


@dataclass(frozen=True)
class DuplicateGroup(Value):
    """Images that are near duplicates of each other, directly or by way of others of the group."""

    names: tuple[str, ...]
    """Two or more, in the order of adding."""
    least_score: float
    """The lowest cosine similarity of two of them; it may be below what was asked for, as a group can be a chain."""
    largest_score: float
    """The highest cosine similarity of two of them."""


@dataclass(frozen=True, eq=False)
class Duplicates(Value, Sequence[DuplicateGroup]):
    """Groups of near duplicates, the largest first."""

    groups: tuple[DuplicateGroup, ...]
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""

    def __iter__(self) -> Iterator[DuplicateGroup]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, index: int) -> DuplicateGroup: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[DuplicateGroup, ...]: ...
    def __getitem__(self, index: int | slice) -> DuplicateGroup | tuple[DuplicateGroup, ...]:
        return self.groups[index]


@dataclass(frozen=True)
class ChannelShare(Value):
    """What one channel contributes to a score; all channels add up to it."""

    channel: int
    """Its index or, behind a head, that of the dimension of the embedding; from 0."""
    score: float
    """Its part of the score."""
    share: float
    """Its part as a share of the score, or 0 if that is not positive; in a ranking as a share of the gap."""
    unit: tuple[str, int] | None = None
    """Layer and channel of the unit that it is, for `units.describe`; None behind a head that mixes channels."""

    def __str__(self) -> str:
        return f"{self.score:.4f} ({self.share:.1%})" if self.share else f"{self.score:.4f}"


@dataclass(frozen=True)
class Correspondence(Value):
    """What a cell of the query and a cell of the match contribute to a score together; all pairs add up to it."""

    query_box: Box
    match_box: Box
    score: float


@dataclass(frozen=True, eq=False)
class MatchExplanation(Value):
    """Why two images match."""

    score: float
    """What is explained: `image_score`, or the part of it that lies in the regions that were given."""
    image_score: float
    """Cosine similarity of the whole images, -1 to 1."""
    query_map: SimilarityMap
    """Where in the query `score` lies."""
    match_map: SimilarityMap
    """Where in the match `score` lies."""
    residual: float
    """How far the maps are from adding up: the larger |total - score| of the two."""
    channels: tuple[ChannelShare, ...]
    """The channels that contribute most, largest first."""
    correspondences: tuple[Correspondence, ...]
    """The pairs of cells that contribute most, largest first."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    color_scale: ColorScale | None
    """The scale of the overlays, if there are any."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True, eq=False)
class LabelExplanation(Value):
    """Why an image is similar to the images of a label."""

    score: float
    """Mean cosine similarity to these images, -1 to 1."""
    image_count: int
    """How many images the mean is over: all of the label, but not the query itself."""
    query_map: SimilarityMap
    """Where in the query `score` lies: the mean of its maps with each of the images."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    color_scale: ColorScale | None
    """The scale of the overlay, if there is one."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True)
class CellShare(Value):
    """What a cell of the query contributes to a gap; all cells add up to it."""

    box: Box
    score: float
    """Its part, positive for the first."""
    share: float
    """Its part as a share of the gap; 0 without a gap."""

    def __str__(self) -> str:
        return f"{self.score:.4f} ({self.share:.1%})" if self.share else f"{self.score:.4f}"


@dataclass(frozen=True, eq=False)
class RankedScore(Value):
    """One of two things that a query is compared with."""

    score: float
    """Cosine similarity to the image, mean of it to the images of the label, or the part that lies in the regions."""
    image_count: int
    """How many images that is the mean over: 1 for an image."""
    match_map: SimilarityMap | None
    """Where in the image `score` lies; None for a label."""
    content_sha256: str
    """Of the image's file, in hexadecimal; empty for a label."""


@dataclass(frozen=True, eq=False)
class RankingExplanation(Value):
    """Why a query is more similar to one image or label than to another."""

    gap: float
    """The score of the first minus that of the second."""
    first: RankedScore
    second: RankedScore
    difference_map: SimilarityMap
    """Where in the query the gap lies: its map with the first minus that with the second; it adds up to the gap."""
    channels: tuple[ChannelShare, ...]
    """The channels that contribute most, for the gap or against it, largest first."""
    cells: tuple[CellShare, ...]
    """The cells of the query that contribute most, for the gap or against it, largest first."""
    residual: float
    """How far the difference map is from adding up: |total - gap|."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    color_scale: ColorScale | None
    """The scale of the difference map's overlay, if there is one."""
    match_color_scale: ColorScale | None
    """The one scale of the overlays of both match maps, if there are any."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True, eq=False)
class Standing(Value):
    """Where a stored image stands among all images of its gallery for a query."""

    score: float
    """Cosine similarity, -1 to 1, or the part of it that lies in the regions."""
    rank: int
    """From 1: one more than the number of images that score more."""
    image_count: int
    """How many images were compared, itself included."""
    needed_score: float
    """What it takes to be among the first `limit`: the score of the match at that place, or of the last image."""
    rival: str
    """The name of the match that has that score; `explain_ranking` says what it has in its favor."""
    rival_rank: int
    """The place of that match."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True)
class NeighborLabel(Value):
    """What part of a query's neighbors has a label."""

    label: str
    """Empty for neighbors without one."""
    neighbor_count: int
    share: float
    """Of the neighbors, 0 to 1."""
    score_share: float
    """Of the neighbors' summed scores, 0 to 1; a score below 0 counts as 0."""


@dataclass(frozen=True)
class LabelScore(Value):
    """How similar a query is to the images of a label."""

    label: str
    image_count: int
    """Without the query itself."""
    score: float
    """Mean cosine similarity to them, -1 to 1, or the part of it that lies in the regions."""


@dataclass(frozen=True)
class Neighborhood(Value):
    """The labels around a query."""

    neighbor_count: int
    neighbors: tuple[NeighborLabel, ...]
    """The labels of the neighbors, that of most neighbors first."""
    label_count: int
    """How many labels the gallery has, without those that only the query itself has."""
    best_labels: tuple[LabelScore, ...]
    """Those with the highest mean score, highest first."""
    worst_labels: tuple[LabelScore, ...]
    """Those with the lowest mean score, lowest first, as far as they are not in `best_labels`."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


MARKED_CHANNELS = 10
"""The point of the component-share curve that the paper marks: visualizations before it showed ten channels."""


@dataclass(frozen=True, eq=False)
class ComponentShares(Value):
    """How few channels carry a similarity: the share of the score in the leading channels of a pair of images."""

    mean: NDArray[np.float32]
    """(channels,), or dimensions behind a head; entry K - 1 is the share of the mean score in the K leading ones.
    May pass 1 on its way."""
    low: NDArray[np.float32]
    """The same; a tenth of the pairs lies below."""
    high: NDArray[np.float32]
    """The same; a tenth of the pairs lies above."""
    pair_count: int
    model: str
    """The fingerprint of the model and the gallery's head."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True)
class InterActiveSetting(Value):
    """One way to weigh the neurons of one layer."""

    layer: str
    """By one of the names in `Model.layers`."""
    supervision: str = "last"
    """`last`, the last layer before the classifier; `next`, the layer that reads it; or the name of a later layer."""
    norm: float = 2.0
    """p, at least 1, or infinity."""


@dataclass(frozen=True, eq=False)
class WeightMap(Value):
    """What the neurons at each place of an image weigh, summed over the channels of their layer."""

    values: NDArray[np.float32]
    """(rows, columns), at the layer's own resolution; their unit has no meaning."""
    width_px: int
    """Of the upright image, as is `height_px`."""
    height_px: int
    overlay_png: bytes = field(default=b"", repr=False)
    """The map drawn over the image, if it was asked for."""

    def overlay(self) -> PIL.Image.Image:
        """Return the map drawn over the image."""
        return _picture(self.overlay_png)


@dataclass(frozen=True, eq=False)
class Activeness(Value):
    """How active the neurons of one layer are."""

    setting: InterActiveSetting
    map: WeightMap
    descriptor: NDArray[np.float32] | None
    """(channels,) of length 1, if it was asked for."""
    color_scale: ColorScale | None
    """Of the overlay; each map has its own."""


@dataclass(frozen=True, eq=False)
class InterActiveExplanation(Value):
    """How active the neurons of some layers are for one image, as InterActive weighs them."""

    results: tuple[Activeness, ...]
    """One for each setting, in their order."""
    input_width_px: int
    """Of what the network saw, as is `input_height_px`."""
    input_height_px: int
    model: str
    """The fingerprint of the model."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True, eq=False)
class DifferenceMap(Value):
    """What each pixel of the network's input, or each cell of a layer, is worth for a target."""

    target: str
    """In the words of the command line, classes by their names: `class:tabby`."""
    value: float
    """What the target is for the unchanged image."""
    measure: str
    """What the values are in: `bits`, `score`, `cosine`, or `response of LAYER`."""
    values: NDArray[np.float32]
    """(rows, columns), the network's input in pixels, or a layer in cells; what is positive supports the target."""
    standard_errors: NDArray[np.float32] | None
    """(rows, columns), from the drawing of samples alone; None after a single sample."""
    sensitivities: NDArray[np.float32] | None
    """(rows, columns), how steep the target is in each pixel, or cell; None unless asked for."""
    width_px: int
    """Of the upright image, as is `height_px`."""
    height_px: int
    area: Box
    """The part of the image that the map covers."""
    overlay_png: bytes = field(default=b"", repr=False)
    """The map drawn over the image; empty unless asked for."""
    color_scale: ColorScale | None = None
    """Of the overlay, if there is one; maps of the same measure share it."""

    def overlay(self) -> PIL.Image.Image:
        """Return the map drawn over the image."""
        return _picture(self.overlay_png)

    def strongest(self, share: float = 0.05) -> NDArray[np.bool_]:
        """Return (rows, columns), True for that share of the pixels: those farthest from 0, but none that is 0."""
        return _leading(self.values, share)

    def steepest(self, share: float = 0.05) -> NDArray[np.bool_]:
        """Return the same of the sensitivities, which must have been asked for."""
        if self.sensitivities is None:
            raise ValueError("there are no sensitivities; ask for them with `with_sensitivity=True`")
        return _leading(self.sensitivities, share)


def _leading(values: NDArray[np.float32], share: float) -> NDArray[np.bool_]:
    """Return True for that share of the values: those farthest from 0, but none that is 0."""
    if not 0 < share <= 1:
        raise ValueError(f"share={share!r}; take more than 0 and at most 1")
    sizes = np.abs(values).ravel()
    mask = np.zeros(sizes.size, np.bool_)
    mask[np.argsort(-sizes, kind="stable")[: max(1, round(share * sizes.size))]] = True
    return (mask & (sizes > 0)).reshape(values.shape)


@dataclass(frozen=True)
class Progress(Value):
    """How far a call is."""

    counted: str
    """What is counted: `images` of a gallery, `evaluations` of the network, `filters` or `units` of a layer; empty
    while it is not known yet."""
    done: int
    """How many are done."""
    total: int
    """How many there are, or at most."""


@dataclass(frozen=True)
class PredictionDifferenceSetting(Value):
    """How parts of an image were taken as unknown, in the paper's letters k, l and S."""

    window_px: int
    """k, of windows of k x k pixels of the network's input, or cells of `layer`."""
    context_px: int
    """l, a window is predicted from the rest of the l x l pixels around it."""
    sample_count: int
    """S, how many samples replaced each window."""
    stride_px: int
    """From one window to the next."""
    layer: str = ""
    """Whose cells were taken as unknown; empty for the pixels."""


@dataclass(frozen=True)
class PatchSampler(Value):
    """What replaced the parts of an image that were taken as unknown."""

    kind: str
    """`conditional`, `marginal` or `mean`."""
    image_count: int
    """How many images of the gallery it was made of."""
    patch_count: int
    """How many patches of them the normal distribution was fitted to; 0 for `marginal`."""
    seed: int
    """What makes the draw repeatable."""
    channel_count: int = 0
    """Of a layer, how many of its leading principal channels the normal distribution is of; else 0."""
    variance_share: float = 0.0
    """How much of the variance of the layer's cells these hold, 0 to 1; the rest is taken for its mean."""


@dataclass(frozen=True, eq=False)
class PredictionDifferenceExplanation(Value):
    """What each part of an image is worth for what the model makes of it, or how far the work on that is."""

    name: str
    """To go on with it, or to get its maps again."""
    model: str
    """The fingerprint of the model and the gallery's head."""
    maps: tuple[DifferenceMap, ...]
    """One for each target, in their order; empty if this is only progress."""
    progress: Progress
    """While the sampler is made, `images` of the gallery that have been read for it; afterwards `evaluations`: altered
    images that went through the network."""
    evaluations_per_second: float
    """Of this call."""
    seconds_left: float
    """At that rate."""
    complete: bool
    """False for progress and for partial maps."""
    sampler: PatchSampler | None
    """None without maps, as is `setting`."""
    setting: PredictionDifferenceSetting | None
    multiplied_share: float
    """The network's multiplications, as a share of those that whole images would have taken."""
    computed_whole: tuple[str, ...]
    """Where the network could not be followed, so that from there on whole images were computed."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""

    @property
    def evaluations(self) -> int:
        """So far: altered images that went through the network; 0 while the sampler is made."""
        return self.progress.done if self.progress.counted == "evaluations" else 0

    @property
    def planned_evaluations(self) -> int:
        """In all; 0 while the sampler is made."""
        return self.progress.total if self.progress.counted == "evaluations" else 0

    @property
    def fitted_count(self) -> int:
        """Images of the gallery that have been read for the sampler; 0 once that is made."""
        return self.progress.done if self.progress.counted == "images" else 0

    @property
    def fit_count(self) -> int:
        """How many will be; 0 once it is made."""
        return self.progress.total if self.progress.counted == "images" else 0


Explanation: TypeAlias = (
    MatchExplanation | LabelExplanation | RankingExplanation | InterActiveExplanation | PredictionDifferenceExplanation
)
"""Why images match, or what an image is worth for a target: any answer about single images of `Client.explain_...`."""


@dataclass(frozen=True, eq=False)
class Embedding(Value):
    """What the model makes of an image. A search takes it as its query and refuses one of another model or head."""

    embedding: NDArray[np.float32]
    """(dimensions,), a vector of length 1."""
    feature_map: NDArray[np.float32] | None = None
    """(rows, columns, channels); None unless asked for."""
    model: str = ""
    """The fingerprint of the model and the gallery's head; a search does not check an empty one."""
    width_px: int = 0
    """Of the upright image, as is `height_px`; 0 if it is not known."""
    height_px: int = 0
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True)
class Added(Value):
    """What became of one image of a stream."""

    name: str
    image: Image | None
    """The image as stored; None if it was not added."""
    error: WhymatchError | None
    """Why it was not added."""
    unchanged: bool
    """True if the gallery already held exactly this image, name, label and metadata."""
    duplicate_of: str
    """The name of an image with the same bytes, stored earlier under another name; empty if there is none."""
    replaced: bool = False
    """True if it took the place of another image, or of this one with another label or metadata."""


def _picture(overlay_png: bytes) -> PIL.Image.Image:
    import PIL.Image

    if not overlay_png:
        raise ValueError("this map came without its picture; ask for it with overlays=True")
    return PIL.Image.open(io.BytesIO(overlay_png))
