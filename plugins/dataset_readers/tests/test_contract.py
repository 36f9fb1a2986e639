"""The components keep the contracts of their kinds."""

from pathlib import Path

from PIL import Image

from reidfw_core.testing import contract_suite

NAMES = ("0001_c1s1_000001_00.jpg", "0001_c2s1_000002_00.jpg", "0002_c1s1_000003_00.jpg", "0002_c2s1_000004_00.jpg")


def write_images(root: Path, names: tuple[str, ...] = NAMES) -> None:
    """Grey images whose names tell identity and camera, as in Market-1501."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 16), (128, 128, 128)).save(root / name)


def write_folder_per_identity(root: Path) -> None:
    write_images(root, tuple(f"{name[:4]}/{name}" for name in NAMES))


def write_manifests(root: Path) -> None:
    write_images(root)
    rows = [f"{name},{name[:4]},{name[5:7]}" for name in NAMES]
    for role in ("training", "test_query", "test_gallery"):
        (root / f"{role}.csv").write_text("\n".join(["path,identity,camera", *rows]) + "\n")


def write_parquet_manifests(root: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    write_images(root)
    table = pyarrow.table({"path": NAMES, "identity": [n[:4] for n in NAMES], "camera": [n[5:7] for n in NAMES]})
    for role in ("training", "test_query", "test_gallery"):
        pyarrow.parquet.write_table(table, root / f"{role}.parquet")


def write_msmt17(root: Path) -> None:
    names = [
        f"{person}/{person}_00{shot}_0{shot + 1}_0303noon_0001_0.jpg" for person in ("0000", "0001") for shot in (0, 1)
    ]
    for folder in ("train", "test"):
        write_images(root / folder, tuple(names))
    for part in ("train", "val", "query", "gallery"):
        (root / f"list_{part}.txt").write_text("".join(f"{name} {int(name[:4])}\n" for name in names))


TestContract = contract_suite(
    "reidfw-dataset-readers",
    folders={
        "identity_prefix": write_images,
        "market1501": write_images,
        "veri776": write_images,
        "msmt17": write_msmt17,
        "folder_per_identity": write_folder_per_identity,
        "csv_manifest": write_manifests,
        "parquet_manifest": write_parquet_manifests,
    },
)
