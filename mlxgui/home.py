"""The one folder that holds everything: database, models, logs, jobs. `MLX_GUI_HOME` names it."""

from pathlib import Path


class Home:
    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()

    @property
    def models(self) -> Path:
        return self.path / "models"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def scratch(self) -> Path:
        """Compiled kernels and other files that may vanish; private to this installation."""
        return self.path / "scratch"

    @property
    def prompts(self) -> Path:
        """Computed prompts, kept over a restart; safe to delete."""
        return self.path / "prompts"

    def make(self) -> None:
        """Create what is missing. Raises OSError where that is not possible."""
        for folder in (self.path, self.models, self.logs, self.scratch, self.prompts):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
