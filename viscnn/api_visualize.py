"""The part of the API that renders feature visualisations, and finds those that have been rendered."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from viscnn.errors import InputError, NotInGraph, nearest
from viscnn.progress import Progress, silent
from viscnn.session import Session

if TYPE_CHECKING:
    from viscnn.engine.visualize.objectives import Objective
    from viscnn.engine.visualize.render import Renderer
    from viscnn.engine.visualize.settings import Visualization

__all__ = ["Visualizations"]


class Visualizations(Session):
    """Methods of `VISCNN` about feature visualisations.

    A *target* is a filter's uid, a kernel as `SOURCE -> TARGET` (two uids), or an output such as `class:NAME`,
    `direction:LAYER[0:1, 3:-1]` or `filter:UID@3,4`; `model` may be left out where the target names it. All methods
    take the same settings:

        objective   `channel`: the mean of the map; `neuron`: its middle
        sign        1 the largest, -1 the smallest activation
        steps       of the optimiser, 512 by default
        size        pixels a side; what the model takes by default
        seed        of the start and the jitter; the same one gives the same bits on one machine
        circuit     uid of a stored circuit: rendered from its masked network
        backend     `own`, or `lucent` where torch-lucent is installed
    """

    def visualize(
        self, target: str, *, model: str | None = None, progress: Progress = silent, **settings: Any
    ) -> "Visualization":
        """Render a visualisation, or find it in the cache; `settings` as above.

        Args:
            progress: told every few steps; what it raises stops the rendering.

        Raises:
            NotInGraph: no such model, filter, kernel or circuit, or the model is not registered on this machine.
            ExpressionError, InputError: a target or setting that cannot be used.
        """
        return next(self.visualize_each([target], model=model, progress=progress, **settings))

    def visualize_each(
        self, targets: Sequence[str], *, model: str | None = None, progress: Progress = silent, **settings: Any
    ) -> "Iterator[Visualization]":
        """Render many of one model, many at once: those in the cache come first, then the others batch by batch.

        Each is in the cache from then on, so a stopped run goes on where it was. Raises what `visualize` raises, and
        most of it before anything is rendered.
        """
        renderer, kind = self._renderer(_model_of(targets, model), **settings)
        return renderer.each([self._objective(renderer, each, **kind) for each in targets], progress=progress)

    def visualize_layer(
        self, model: str, layer: str, *, progress: Progress = silent, **settings: Any
    ) -> "Iterator[Visualization]":
        """Render all filters of a layer; with `circuit` those of its filters that are in the circuit.

        Raises:
            NotInGraph: no such model, layer or circuit.
            InputError: a setting that cannot be used, or no filter of the layer is in the circuit.
        """
        renderer, kind = self._renderer(model, **settings)
        return renderer.each(self._of_layer(renderer, layer, **kind), progress=progress)

    def visualizations(
        self, targets: Sequence[str], *, model: str | None = None, **settings: Any
    ) -> "dict[str, Visualization]":
        """Those that have been rendered with these settings, by target as it was given; renders nothing."""
        renderer, kind = self._renderer(_model_of(targets, model), **settings)
        found = {each: renderer.cached(self._objective(renderer, each, **kind)) for each in targets}
        return {target: each for target, each in found.items() if each is not None}

    def visualization(self, target: str, *, model: str | None = None, **settings: Any) -> "Visualization | None":
        """The one that has been rendered with these settings; None when none has, renders nothing."""
        return self.visualizations([target], model=model, **settings).get(target)

    def _renderer(
        self,
        model: str,
        *,
        objective: str = "channel",
        sign: int = 1,
        steps: int | None = None,
        size: int | tuple[int, int] | None = None,
        seed: int = 0,
        circuit: str | None = None,
        backend: str = "own",
    ) -> "tuple[Renderer, dict[str, Any]]":
        """What renders with these settings, and what is left of them for each objective."""
        from viscnn.engine.visualize.circuits import stored_circuit
        from viscnn.engine.visualize.render import Renderer
        from viscnn.engine.visualize.settings import STEPS, Settings
        from viscnn.engine.visualize.views import Normalisation

        pixels = (size, size) if isinstance(size, int) else size
        settings = Settings(STEPS if steps is None else steps, pixels, seed, backend)
        bundle = self.bundle(model)
        masked = None if circuit is None else stored_circuit(self._graph, bundle, circuit)
        normalisation = Normalisation.from_json(self.model(model)["preprocess"])
        return Renderer(bundle, settings, normalisation, masked), {"kind": objective, "sign": sign}

    def _objective(self, renderer: "Renderer", target: str, *, kind: str, sign: int) -> "Objective":
        from viscnn.engine.visualize.objectives import objective_of

        bundle = renderer.bundle
        named: dict[str, Any] = {"architecture": bundle.architecture, "classes": bundle.classes}
        return objective_of(target, model=bundle.name, kind=kind, sign=sign, **named)

    def _of_layer(self, renderer: "Renderer", name: str, *, kind: str, sign: int) -> "list[Objective]":
        bundle = renderer.bundle
        plain = name.removeprefix(f"{bundle.name}/")
        layers = {layer.name: layer for layer in bundle.architecture.layers}
        if plain not in layers:
            known = tuple(layers)
            raise NotInGraph(
                f"model {bundle.name!r} has no layer {plain!r}{nearest(plain, known)} (it has: {', '.join(known)})"
            )
        channels = list(range(layers[plain].filters))
        if renderer.circuit is not None:
            channels = [each for each in channels if renderer.circuit.kept[plain][each].any()]
            if not channels:
                raise InputError(f"no filter of layer {plain} is in circuit {renderer.circuit.uid}")
        uids = [f"{bundle.name}/{plain}/{channel}" for channel in channels]
        return [self._objective(renderer, uid, kind=kind, sign=sign) for uid in uids]


def _model_of(targets: Sequence[str], model: str | None) -> str:
    """The model that is given, else the one whose filters the first target names."""
    if model is not None:
        return model
    if not targets:
        raise InputError("there is nothing to visualise: name a filter, a kernel or an output")
    named, slash, _ = targets[0].strip().removeprefix("filter:").lstrip("\"'").partition("/")
    if not slash or ":" in named:
        raise InputError(f"{targets[0]!r} does not tell its model; give it (model=..., or the command's MODEL)")
    return named
