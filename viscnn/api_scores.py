"""The part of the API that scores: queries, class profiles, and the circuits that scores select."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from viscnn.errors import NotInGraph
from viscnn.graph_projections import activate_projection, projections
from viscnn.graph_scores import activate_scores
from viscnn.progress import Progress, silent
from viscnn.session import Session

if TYPE_CHECKING:
    from viscnn.comparison import Comparison
    from viscnn.engine.circuit import CircuitReport
    from viscnn.engine.profiles import ClassProfiles
    from viscnn.engine.projections.project import ProjectionReport
    from viscnn.engine.run import QueryReport
    from viscnn.subgraph import Subgraph

__all__ = ["Scores"]


class Scores(Session):
    """Methods of `VISCNN` about scores."""

    # -- queries ---------------------------------------------------------------------------------------------------

    def query(
        self,
        text: str,
        *,
        model: str,
        output: str | None = None,
        criterion: str = "taylor",
        max_images: int = 500,
        images: str | None = None,
        activate: bool = True,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> "QueryReport":
        """Score all filters and kernels for an input expression, store the scores, and activate them.

        Args:
            text: input expression, such as `three - overall` or `0.5*(cat + dog) - "2" * photo.png`.
            output: `loss` (default), `class:NAME`, `filter:UID`, `layer:NAME`, `direction:NAME[...]`, or a linear
                combination of them (see viscnn/engine/output.py).
            criterion: `taylor` or another of viscnn/engine/criteria, with its parameters: `force(keep=0.1)`.
            max_images: at most so many images of each image set, the same ones each time; 0 for all.
            workers: processes that decode images; by default none for few images.
            images: an image source instead of the registered one.

        Raises:
            ExpressionError, ImagesError, NotInGraph: nothing was changed.
        """
        from viscnn.engine.run import QuerySpec, run_query
        from viscnn.engine.scoring import Running

        spec = QuerySpec(input=text, output=output, criterion=criterion, max_images=max_images)
        running = Running(progress=progress, workers=workers)
        return run_query(self._graph, self.bundle(model, images=images), spec, activate=activate, running=running)

    def query_each(
        self,
        text: str,
        *,
        model: str,
        outputs: Sequence[str | None] = (None,),
        criteria: Sequence[str] = ("taylor",),
        max_images: int = 500,
        images: str | None = None,
        activate: bool = True,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> "list[QueryReport]":
        """One query for each output and criterion, scored in one pass over the images; the first one is activated.

        Raises:
            ExpressionError, ImagesError, NotInGraph: nothing was changed.
        """
        from viscnn.engine.run import QuerySpec, run_queries
        from viscnn.engine.scoring import Running

        specs = [QuerySpec(text, output, criterion, max_images) for output in outputs for criterion in criteria]
        running = Running(progress=progress, workers=workers)
        return run_queries(self._graph, self.bundle(model, images=images), specs, activate=activate, running=running)

    def class_profiles(
        self,
        model: str,
        *,
        image_set: str = "overall",
        max_images: int = 0,
        images: str | None = None,
        workers: int | None = None,
        progress: Progress = silent,
    ) -> "ClassProfiles":
        """How much every filter matters to the loss of each class, for all classes in one pass over the score images.

        Raises:
            ExpressionError, ImagesError, NotInGraph.
        """
        from viscnn.engine.profiles import class_profiles
        from viscnn.engine.scoring import Running

        bundle = self.bundle(model, images=images)
        chosen = bundle.collection.select(image_set, "score", max_images or None, required=True)
        return class_profiles(bundle, chosen, running=Running(progress=progress, workers=workers))

    def project(
        self,
        model: str,
        *,
        method: str = "class-umap",
        seed: int = 0,
        max_images: int = 0,
        images: str | None = None,
        activate: bool = False,
        progress: Progress = silent,
    ) -> "ProjectionReport":
        """Place every filter anew: a projection is stored, and with `activate` its places are the filters' u, v, x, y.

        Args:
            method: one of `viscnn.engine.projections.project.METHODS`.
            seed: of UMAP; the same seed gives the same places on one machine.
            max_images: at most so many images, the same ones each time; 0 for all.
            images: an image source instead of the registered one.

        Raises:
            InputError, ExpressionError, ImagesError, NotInGraph: nothing was changed.
        """
        from viscnn.engine.projections.project import project

        settings: dict[str, Any] = {"seed": seed, "max_images": max_images, "activate": activate}
        return project(self._graph, self.bundle(model, images=images), method, progress=progress, **settings)

    def projections(self, model: str) -> list[dict[str, Any]]:
        """The stored projections of a model with what was measured of them, by method."""
        return projections(self._graph, self.model(model)["name"])

    def places(self, uid: str) -> list[dict[str, Any]]:
        """Where a projection puts every filter: uid, layer, channel, u, v."""
        return self._graph.read("read/places", uid=uid)

    def activate_projection(self, uid: str) -> dict[str, Any]:
        """Copy a projection's places to u, v, x, y of the filters; raises NotInGraph."""
        return activate_projection(self._graph, uid)

    def queries(self, model: str) -> list[dict[str, Any]]:
        """The saved queries of a model, newest first."""
        return self._graph.read("read/queries", model=self.model(model)["name"])

    def activate(self, uid: str) -> dict[str, Any]:
        """Copy a saved query's scores to `score`; returns how many filters and kernels were set."""
        return activate_scores(self._graph, uid)

    def drop_query(self, uid: str) -> None:
        """Remove a saved query with its scores and circuits."""
        if not self._graph.write("write/drop_query", uid=uid):
            raise NotInGraph(f"no query {uid!r} is stored (list them with: viscnn queries --model MODEL)")

    def subgraph(
        self, uid: str, *, keep: float = 0.1, share: float | None = None, scale: str = "sum", limit: int = 20_000
    ) -> "Subgraph":
        """The share `keep` of all kernels with the highest scaled scores in a saved query, pulled by Cypher.

        With `share`, whatever `keep` says: the fewest kernels that hold this share of the total positive score.

        Raises:
            NotInGraph: no complete query of that uid.
            ExpressionError: `keep` or `share` outside (0, 1], or an unknown scale.
        """
        from viscnn.subgraph import pull

        return pull(self._graph, uid, keep=keep, share=share, scale=scale, limit=limit)

    def compare(
        self, first: str, second: str, *, keep: float = 0.1, share: float | None = None, limit: int = 20_000
    ) -> "Comparison":
        """Two saved queries of one model: shared kernels, and those of one only, in all and layer by layer.

        Both are chosen as by `subgraph`, with one `keep` or `share`; all that are chosen are counted.

        Args:
            limit: kernels of either that are pulled to be drawn; 0 for none.

        Raises:
            NotInGraph: one of them is not stored, or not complete.
            InputError: they are of different models.
            ExpressionError: `keep` or `share` outside (0, 1].
        """
        from viscnn.comparison import compare

        return compare(self._graph, first, second, keep=keep, share=share, limit=limit)

    # -- circuits --------------------------------------------------------------------------------------------------

    def circuit(
        self,
        target: str,
        *,
        model: str,
        input: str = "overall",  # noqa: A002 - the name that a query has it by
        keep: float = 0.1,
        criterion: str = "taylor",
        scale: str | None = None,
        excitatory: bool = False,
        ablation: str = "zero",
        max_images: int = 500,
        check_images: int = 200,
        images: str | None = None,
        progress: Progress = silent,
    ) -> "CircuitReport":
        """Extract a connected circuit that reaches `target`, verify it on check images, store and return it.

        Args:
            target: a filter's uid, or an output such as `class:NAME` or `loss`.
            input: input expression of the query whose scores select the kernels; scored now if it is not stored.
            keep: share of the kernels upstream of the target, in (0, 1].
            scale: `sum`, `layer-l2` or `raw`: how layers are made comparable.
            ablation: what removed kernels read when verifying: `zero`, `mean` or `resample`.
            check_images: at most so many check images; 0 for all.
        """
        from viscnn.engine.circuit import DEFAULT_SCALE, CircuitSpec, run_circuit
        from viscnn.engine.run import QuerySpec
        from viscnn.engine.scoring import Running
        from viscnn.engine.verify import VerifySpec

        checking = VerifySpec(ablation=ablation, max_images=check_images)
        spec = CircuitSpec(keep=keep, scale=scale or DEFAULT_SCALE, excitatory=excitatory, verify=checking)
        asked = QuerySpec(input=input, output=_as_output(target), criterion=criterion, max_images=max_images)
        running = Running(progress=progress)
        return run_circuit(self._graph, self.bundle(model, images=images), asked, spec, running=running)

    def circuits(self, model: str) -> list[dict[str, Any]]:
        """The stored circuits of a model with their evidence, newest first."""
        return self._graph.read("read/circuits", model=self.model(model)["name"])

    def circuit_subgraph(self, uid: str) -> "Subgraph":
        """The kernels of a stored circuit with the scores of the query that chose them."""
        from viscnn.subgraph import of_circuit

        return of_circuit(self._graph, uid)


def _as_output(target: str) -> str:
    """A bare filter uid as an output expression."""
    return f"filter:{target}" if "/" in target and ":" not in target.partition("/")[0] else target
