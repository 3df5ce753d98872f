"""`--mode=export`: a model as a file or a folder for others."""

from pathlib import Path

from stackgan_jax.pretrained import loading, onnx_program, program
from stackgan_jax.runtime import paths
from stackgan_jax.runtime.errors import UserError
from stackgan_jax.weights.exports import export

PROGRAMS = {"stablehlo": program.SUFFIX, "onnx": onnx_program.SUFFIX}
SUFFIXES = {"safetensors": ".safetensors", "hub": "", "pth": "", **PROGRAMS}


def write(source: str | Path | None, format: str, output: str | None, dtype: str) -> None:
    """Writes a model, and prints what was written.

    Args:
        source: a model, as `stackgan_jax.load` takes it; None for the built-in one. For "pth", a
            run's folder.
        format: a name in SUFFIXES.
        output: the file, or the folder of "hub" and "pth"; by default the model's name with the
            suffix, in the working folder.
        dtype: of the stored weights: "float32" or "bfloat16".

    Raises:
        UserError: there is no model, it has no such form, the name doesn't fit the format, or can't
            be written to.
    """
    if dtype != "float32" and format not in ("safetensors", "hub"):
        raise UserError(f"--format={format} keeps the weights in float32; leave --dtype out.")
    given = _checked(output, format) if output else None
    if format == "pth":
        _write_pth(source, given)
        return
    model = loading.load(source)
    path = given or Path(f"{model.configs[-1].name}{SUFFIXES[format]}").absolute()
    if format in PROGRAMS:
        model.export(path)
    elif format == "hub":
        model.save_hub(path, dtype)
    else:
        model.save(path, dtype)
    sizes = (file.stat().st_size for file in (path.iterdir() if path.is_dir() else [path]))
    beside = f", described in {path.with_suffix('.json')}" if format in PROGRAMS else ""
    print(f"{model}\nWritten to {path}{beside}: {sum(sizes) / 1e6:.1f} MB.")


def _write_pth(source: str | Path | None, directory: Path | None) -> None:
    """Writes a run's networks, as `python -m stackgan_jax.convert --export` does."""
    run, is_file = loading.find(source)
    if is_file:
        raise UserError(
            "--format=pth needs --workdir, the folder of a run: only a run holds the discriminator."
        )
    for path in export(run, directory or Path(f"{run.name}_pth").absolute()):
        print(f"Written: {path}")


def _checked(output: str, format: str) -> Path:
    """The path of --output, which can be written to; a folder is checked when it is made."""
    suffix = SUFFIXES[format]
    if not suffix:
        paths.require_local(output, "--output")
        return Path(output).expanduser().absolute()
    path = paths.output_file(output, "--output", f"model{suffix}")
    if path.suffix != suffix:
        raise UserError(
            f"--output={output} does not end in {suffix}, which --format={format} writes; give "
            f"--output={path.with_suffix(suffix)}, or another --format: {', '.join(SUFFIXES)}."
        )
    return path
