"""The command `whymatch serve`."""

import asyncio
import ipaddress
import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from whymatch.server.config import ServerConfig

app = typer.Typer(add_completion=False)

DEFAULT = ServerConfig()
MODEL, NETWORK, LIMITS, SECURITY = "Model", "Network", "Limits", "Security"


def main() -> None:
    """Run the command line."""
    app(prog_name="whymatch serve")


@app.command()
def serve(
    data: Annotated[Path, typer.Option(help="Folder of the galleries; made if it is missing.")] = DEFAULT.data,
    host: Annotated[str, typer.Option(help="Address to listen on.", rich_help_panel=NETWORK)] = DEFAULT.host,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.", rich_help_panel=NETWORK)
    ] = DEFAULT.port,
    backbone: Annotated[
        str,
        typer.Option(help="`bundled`, or a torchvision or timm classification network.", rich_help_panel=MODEL),
    ] = "bundled",
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Its weights, .safetensors or .pth; by default the library's own.",
            exists=True,
            dir_okay=False,
            rich_help_panel=MODEL,
        ),
    ] = None,
    pooling: Annotated[Literal["average", "max", "gem"], typer.Option(rich_help_panel=MODEL)] = "average",
    gem_power: Annotated[float, typer.Option(help="p of GeM pooling.", rich_help_panel=MODEL)] = 3.0,
    geometry: Annotated[
        Literal["keep", "warp", "center-crop"],
        typer.Option(help="How an image of any shape becomes an input.", rich_help_panel=MODEL),
    ] = "keep",
    size_px: Annotated[
        int | None, typer.Option(help="Side of a square input; by default the network's.", rich_help_panel=MODEL)
    ] = None,
    mean: Annotated[str | None, typer.Option(help="Mean of R,G,B, 0 to 1.", rich_help_panel=MODEL)] = None,
    std: Annotated[str | None, typer.Option(help="Deviation of R,G,B.", rich_help_panel=MODEL)] = None,
    precision: Annotated[
        Literal["float32", "bfloat16"],
        typer.Option(help="bfloat16 is about twice as fast where the processor has it.", rich_help_panel=MODEL),
    ] = "float32",
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.", rich_help_panel=MODEL)] = "cpu",
    batch_size: Annotated[
        int, typer.Option(min=1, max=1024, help="Images that go through the network together.", rich_help_panel=MODEL)
    ] = DEFAULT.batch_size,
    max_image_bytes: Annotated[int, typer.Option(min=1, rich_help_panel=LIMITS)] = DEFAULT.max_image_bytes,
    max_image_pixels: Annotated[int, typer.Option(min=1, rich_help_panel=LIMITS)] = DEFAULT.max_image_pixels,
    max_limit: Annotated[
        int, typer.Option(min=1, help="Most matches of one search.", rich_help_panel=LIMITS)
    ] = DEFAULT.max_limit,
    max_concurrent_calls: Annotated[
        int, typer.Option(min=1, help="Calls beyond it are refused at once.", rich_help_panel=LIMITS)
    ] = DEFAULT.max_concurrent_calls,
    default_deadline_s: Annotated[
        float, typer.Option(min=0.001, help="For calls that set no deadline.", rich_help_panel=LIMITS)
    ] = DEFAULT.default_deadline_s,
    grace_s: Annotated[
        float, typer.Option(min=0, help="How long running calls may go on after SIGTERM.", rich_help_panel=LIMITS)
    ] = DEFAULT.grace_s,
    tls_certificate: Annotated[Path | None, typer.Option(exists=True, rich_help_panel=SECURITY)] = None,
    tls_key: Annotated[Path | None, typer.Option(exists=True, rich_help_panel=SECURITY)] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(exists=True, help="Demand client certificates signed by it.", rich_help_panel=SECURITY),
    ] = None,
    read_token_file: Annotated[
        Path | None, typer.Option(exists=True, help="Tokens that may read, one a line.", rich_help_panel=SECURITY)
    ] = None,
    write_token_file: Annotated[
        Path | None, typer.Option(exists=True, help="Tokens that may do all.", rich_help_panel=SECURITY)
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve Prometheus metrics there.", rich_help_panel=NETWORK),
    ] = None,
    log_level: Annotated[Literal["debug", "info", "warning", "error"], typer.Option()] = "info",
) -> None:
    """Serve galleries of images over gRPC. Says `whymatch listening on HOST:PORT` once it is ready."""
    if (tls_certificate is None) != (tls_key is None) or (tls_client_ca and not tls_certificate):
        raise typer.BadParameter("give --tls-certificate and --tls-key together, --tls-client-ca only with them")
    config = ServerConfig(
        data=data,
        host=host,
        port=port,
        batch_size=batch_size,
        max_image_bytes=max_image_bytes,
        max_image_pixels=max_image_pixels,
        max_limit=max_limit,
        max_concurrent_calls=max_concurrent_calls,
        default_deadline_s=default_deadline_s,
        grace_s=grace_s,
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        tls_client_ca=tls_client_ca,
        read_tokens=_tokens(read_token_file),
        write_tokens=_tokens(write_token_file),
        metrics_port=metrics_port,
    )
    model_options = {
        "backbone": backbone,
        "weights": weights,
        "geometry": geometry,
        "size_px": size_px,
        "mean": _triple(mean),
        "std": _triple(std),
        "precision": precision,
        "device": device,
    }
    _run(config, log_level, pooling, gem_power, model_options)


def _run(
    config: ServerConfig, log_level: str, pooling: str, gem_power: float, model_options: dict[str, object]
) -> None:
    try:
        from whymatch.embed import Pooling, WhymatchError, load_model
        from whymatch.server.app import serve
        from whymatch.server.errors import CannotStart
        from whymatch.server.log import LOGGER, start_logging
    except ImportError as err:
        sys.exit(f"whymatch serve needs packages that are not installed ({err}); pip install 'whymatch[server]'")
    start_logging(log_level)
    if (config.read_tokens or config.write_tokens) and not config.tls_certificate and not _is_loopback(config.host):
        LOGGER.warning("tokens travel unencrypted; add --tls-certificate and --tls-key")
    try:
        model = load_model(pooling=Pooling(pooling, gem_power), **model_options)
        asyncio.run(serve(config, model))
    except (WhymatchError, CannotStart) as err:
        sys.stderr.write(f"whymatch serve: {err}\n")
        sys.stderr.flush()
        os._exit(1)


def _tokens(file: Path | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    tokens = frozenset(line.strip() for line in file.read_text().splitlines() if line.strip())
    if not tokens:
        raise typer.BadParameter(f"{file} holds no token; write one a line")
    return tokens


def _triple(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as err:
        raise typer.BadParameter(f"{text!r} is not three numbers such as 0.485,0.456,0.406") from err
    return red, green, blue


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
