"""All that a plugin imports from reidfw (kept stable under semantic versioning).

A plugin's module imports only the standard library, NumPy, pydantic and this module at its top; frameworks are
imported inside the hooks. See ``docs/plugins.md`` for a worked example.
"""

from reidfw_core.chatter import native_stderr_to_log, prints_to_log
from reidfw_core.components import (
    Augmentation,
    Backbone,
    Component,
    ComponentParams,
    DatasetReader,
    Listener,
    Loss,
    Quantizer,
    Target,
    variant,
)
from reidfw_core.errors import (
    BoardFailed,
    BoardNotFound,
    ConfigError,
    DataError,
    DoesNotFit,
    Problem,
    ReidfwError,
    ServiceError,
    StorageError,
    ToolFailed,
    ToolNotFound,
    nearest_match,
)
from reidfw_core.files import atomic_folder, atomic_path
from reidfw_core.markers import hookimpl
from reidfw_core.models import load_embedding_model
from reidfw_core.references import load_function
from reidfw_core.types import (
    ApplicationSettings,
    BadImage,
    BenchmarkReport,
    CalibrationSet,
    ColorMode,
    CommandLine,
    DeploymentReport,
    EmbeddingRunner,
    LayerError,
    MemoryEstimate,
    ModelFile,
    ModelFormat,
    PixelRange,
    Role,
    Samples,
    TargetInfo,
)

__all__ = [
    "ApplicationSettings",
    "Augmentation",
    "Backbone",
    "BadImage",
    "BenchmarkReport",
    "BoardFailed",
    "BoardNotFound",
    "CalibrationSet",
    "ColorMode",
    "CommandLine",
    "Component",
    "ComponentParams",
    "ConfigError",
    "DataError",
    "DatasetReader",
    "DeploymentReport",
    "DoesNotFit",
    "EmbeddingRunner",
    "LayerError",
    "Listener",
    "Loss",
    "MemoryEstimate",
    "ModelFile",
    "ModelFormat",
    "PixelRange",
    "Problem",
    "Quantizer",
    "ReidfwError",
    "Role",
    "Samples",
    "ServiceError",
    "StorageError",
    "Target",
    "TargetInfo",
    "ToolFailed",
    "ToolNotFound",
    "atomic_folder",
    "atomic_path",
    "hookimpl",
    "load_embedding_model",
    "load_function",
    "native_stderr_to_log",
    "nearest_match",
    "prints_to_log",
    "variant",
]
