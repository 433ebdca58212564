"""`whymatch serve`: flags to a `ServerConfig`. What takes long to import waits until the flags are right."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from whymatch.embed.pictures.printing import escape_unprintable
from whymatch.server.config import GeometryMode, LogLevel, PoolingKind, Precision, ServerConfig, Triple

app = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; by default with the arguments of the process."""
    escape_unprintable()
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # our own lines say what went wrong
    app(arguments, prog_name="whymatch serve")


def finite(value: float) -> float:
    """Refuse NaN and infinity, which pass every `min`."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


def three_numbers(text: str | None, flag: str, *, lowest: float = -math.inf) -> Triple | None:
    """Read `R,G,B`; each number is finite and above `lowest`."""
    if text is None:
        return None
    try:
        red, green, blue = (float(number) for number in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is not R,G,B; write three numbers and two commas", param_hint=flag
        ) from None
    if not all(lowest < number < math.inf for number in (red, green, blue)):
        wanted = "finite" if lowest == -math.inf else f"finite and above {lowest:g}"
        raise typer.BadParameter(f"each number of {text!r} must be {wanted}", param_hint=flag)
    return red, green, blue


@app.command()
def serve(
    context: typer.Context,
    data: Annotated[
        Path, typer.Option(metavar="DIR", file_okay=False, help="Folder of the galleries; made if it is missing.")
    ] = ServerConfig.data,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen on.")] = ServerConfig.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = ServerConfig.port,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="SPEC",
            help="[BACKBONE=]MODEL[:POOLING][@LAYERS]: bundled:max, resnet50, vgg16=vgg.pth, run/model.safetensors, "
            "resnet50@layer3,last. LAYERS are pooled instead of the last one. Stands for --backbone, --weights and "
            "--pooling.",
        ),
    ] = ServerConfig.model,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="bundled, or a torchvision or timm classification network.",
            show_default="what the weights file says, or bundled",
        ),
    ] = ServerConfig.backbone,
    weights: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Weights of the network (.pth, .safetensors)."),
    ] = ServerConfig.weights,
    pooling: Annotated[
        PoolingKind | None,
        typer.Option(
            help="How a feature map becomes a vector.", show_default="what the weights were trained for, or average"
        ),
    ] = ServerConfig.pooling,
    gem_power: Annotated[
        float, typer.Option(callback=finite, help="The power of GeM pooling.")
    ] = ServerConfig.gem_power,
    geometry: Annotated[
        GeometryMode, typer.Option(help="keep sees the whole image in its own shape; the others make it square.")
    ] = ServerConfig.geometry,
    size_px: Annotated[
        int | None, typer.Option(min=1, help="Input size; by default what the weights were trained with.")
    ] = ServerConfig.size_px,
    mean: Annotated[str | None, typer.Option(metavar="R,G,B", help="Mean of the training images, 0 to 1.")] = None,
    std: Annotated[str | None, typer.Option(metavar="R,G,B", help="Their standard deviation.")] = None,
    precision: Annotated[Precision, typer.Option(help="Of the network's arithmetic.")] = ServerConfig.precision,
    device: Annotated[str, typer.Option(metavar="NAME", help="cpu, cuda or cuda:N.")] = ServerConfig.device,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images that go through the network together.")
    ] = ServerConfig.batch_size,
    max_image_bytes: Annotated[
        int, typer.Option(min=1, max=2**30, help="Largest image file.")
    ] = ServerConfig.max_image_bytes,
    max_image_pixels: Annotated[
        int, typer.Option(min=1, help="Largest width times height.")
    ] = ServerConfig.max_image_pixels,
    max_limit: Annotated[int, typer.Option(min=1, help="Most matches of one search.")] = ServerConfig.max_limit,
    max_concurrent_calls: Annotated[
        int, typer.Option(min=1, help="Calls at a time; more are refused.")
    ] = ServerConfig.max_concurrent_calls,
    default_deadline_s: Annotated[
        float, typer.Option(min=0.001, callback=finite, help="Deadline of calls whose client set none.")
    ] = ServerConfig.default_deadline_s,
    stream_idle_s: Annotated[
        float, typer.Option(min=0.001, callback=finite, help="How long a stream may send nothing before it is ended.")
    ] = ServerConfig.stream_idle_s,
    tls_certificate: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of the certificate chain; turns TLS on.")
    ] = ServerConfig.tls_certificate,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM file of its private key.")
    ] = ServerConfig.tls_key,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="PEM file; only clients with a certificate it signed may connect."),
    ] = ServerConfig.tls_client_ca,
    read_token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Bearer tokens that may only read, one per line.")
    ] = ServerConfig.read_token_file,
    write_token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Bearer tokens that may do everything, one per line.")
    ] = ServerConfig.write_token_file,
    metrics_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of a Prometheus page; none by default.")
    ] = ServerConfig.metrics_port,
    log_level: Annotated[LogLevel, typer.Option(help="info logs one line for each call.")] = ServerConfig.log_level,
    grace_s: Annotated[
        float, typer.Option(min=0, callback=finite, help="How long running calls may take to finish after SIGTERM.")
    ] = ServerConfig.grace_s,
) -> None:
    """Run the server until SIGTERM or Ctrl-C. Its first line on stdout says where it listens."""
    if model is not None and (backbone, weights, pooling) != (None, None, None):
        raise typer.BadParameter("--model says what --backbone, --weights and --pooling say; give it alone")
    if (tls_certificate is None) != (tls_key is None):
        raise typer.BadParameter("--tls-certificate and --tls-key belong together")
    if tls_client_ca and not tls_certificate:
        raise typer.BadParameter("--tls-client-ca needs --tls-certificate and --tls-key")
    numbers = {"mean": three_numbers(mean, "--mean"), "std": three_numbers(std, "--std", lowest=0)}
    run(ServerConfig(**context.params | numbers))


def run(config: ServerConfig) -> None:
    """Serve; exit with 1 and one line on stderr if that cannot begin."""
    from whymatch.embed import WhymatchError
    from whymatch.server.errors import CannotStart
    from whymatch.server.logs import configure_logging
    from whymatch.server.serving import serve as serve_forever

    configure_logging(config.log_level)
    try:
        serve_forever(config, ready=lambda address: print(f"whymatch listening on {address}", flush=True))
    except (CannotStart, WhymatchError, OSError) as err:
        print(f"whymatch: {err}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:  # before the server was ready
        raise typer.Exit(1) from None
