"""What each webhook answers: a review and the view of the cluster in, a verdict out.

Here the rules of ``pod_rules``, ``pods``, ``fit`` and ``pools`` meet what the cluster holds. No wire format.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from vgpu import values
from vgpu.api import InvalidObject, names
from vgpu.api import claim as claim_api
from vgpu.api import pool as pool_api
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_webhooks.admission import fit, hami, patch, pod_rules, pods, pools, review, shape
from vgpu_webhooks.admission.review import Review, Verdict
from vgpu_webhooks.admission.view import KnownClaim, View

Answer = Callable[[View, Review], Awaitable[Verdict]]


class RefusedError(Exception):
    """The answer is no; the message is for the user."""


async def decide(answer: Answer, view: View, asked: Review) -> Verdict:
    """The verdict of one webhook, whatever the object and the cluster are like."""
    try:
        return await answer(view, asked)
    except RefusedError as error:
        return review.refused(str(error))
    except (shape.MalformedError, InvalidObject, hami.UntranslatableError) as error:
        return review.refused(str(error), code=400)
    except errors.KubeError as error:
        return review.refused(
            f"expected an answer about the cluster's pools and claims, found: {error}; try again", code=503
        )


async def mutate_pod(view: View, asked: Review) -> Verdict:
    """Joins a labelled pod to its claim."""
    wanted = await _joined(view, asked)
    return Verdict(allowed=True, patch=patch.between(asked.object, wanted))


async def mutate_hami_pod(view: View, asked: Review) -> Verdict:
    """Joins a pod written for HAMi to the claim that it is given."""
    pool = await view.default_pool()
    kinds = [kind for shape in view.hardware(pool) for kind in shape] if pool else []
    found = hami.translated(asked.object, kinds)
    wanted = await _joined(view, replace(asked, object=found.pod))
    return Verdict(allowed=True, patch=patch.between(asked.object, wanted), warnings=found.warnings)


async def validate_pod(view: View, asked: Review) -> Verdict:
    """Holds a labelled pod to what joining it gave, whoever has had it in hand since."""
    wanted = await _joined(view, asked)
    if taken := patch.between(asked.object, wanted):
        places = ", ".join(str(each["path"]) for each in taken[:3])
        raise RefusedError(
            f"expected what joins the pod to its slice, found it taken away at {places}; "
            "keep other admission webhooks from undoing it"
        )
    return review.ALLOWED


async def default_claim(view: View, asked: Review) -> Verdict:
    """Gives a claim that names no pool the one it had, else the default pool."""
    spec = asked.object.get("spec")
    if not isinstance(spec, dict) or spec.get("poolName") is not None or _deleting(asked.object):
        return review.ALLOWED
    name = shape.text(shape.mapping(asked.old_object, "spec"), "poolName")
    if not name:
        default = await view.default_pool()
        name = default.name if default else ""
    if not name:
        return review.ALLOWED  # validation says what to do
    changed = {**asked.object, "spec": {**spec, "poolName": name}}
    return Verdict(allowed=True, patch=patch.between(asked.object, changed))


async def validate_claim(view: View, asked: Review) -> Verdict:
    """Holds a new or changed claim to its pool and the pool's devices."""
    if _deleting(asked.object) or not _spec_changed(asked):
        return review.ALLOWED  # else a pool that left would keep claims from being deleted or reported on
    claim = claim_api.to_values(asked.object)
    pool = await _pool_of(view, claim)
    hardware = view.hardware(pool)
    if sentence := fit.contradiction(claim) or fit.objection(claim, pool, hardware):
        raise RefusedError(sentence)
    warnings = (
        fit.unknown_models(claim, pool, hardware),
        fit.unreachable_limit(claim, pool, hardware),
        _no_hardware(pool, hardware),
    )
    return Verdict(allowed=True, warnings=[each for each in warnings if each is not None])


async def validate_pool(view: View, asked: Review) -> Verdict:
    """Holds a new or changed pool to the other pools."""
    if _deleting(asked.object):
        return review.ALLOWED
    pool = pool_api.to_values(asked.object)
    if sentences := pools.objections(pool, view.pools()):
        raise RefusedError("; ".join(sentences))
    warning = _no_hardware(pool, view.hardware(pool)) if _spec_changed(asked) else None
    return Verdict(allowed=True, warnings=[warning] if warning else ())


async def _joined(view: View, asked: Review) -> Object:
    pod = asked.object
    if sentences := pod_rules.objections(pod):
        raise RefusedError(pod_rules.summary(sentences))
    known = await _claim_of(
        view, asked.namespace, pod_rules.claim_name(pod), hami.promised(pod, asked.namespace)
    )
    await _pool_of(view, known.claim)
    if sentences := pod_rules.resource_objections(pod, known.claim):
        raise RefusedError(pod_rules.summary(sentences))
    return pods.joined(pod, known.claim)


async def _claim_of(view: View, namespace: str, name: str, promised: Object | None) -> KnownClaim:
    known = await view.claim(namespace, name)
    if known is None and promised is not None:
        return KnownClaim(claim=claim_api.to_values(promised), deleting=False)
    if known is None:
        raise RefusedError(
            f"expected a VGPUClaim {name!r} in namespace {namespace!r}, as the label "
            f"{names.CLAIM_LABEL} says, found none; create the claim or correct the label"
        )
    if known.deleting:
        raise RefusedError(
            f"found the VGPUClaim {name!r} in namespace {namespace!r} being deleted; "
            "wait until it is gone and create it again, or name another claim"
        )
    return known


async def _pool_of(view: View, claim: values.Claim) -> values.Pool:
    if claim.pool_name is None:
        pool = await view.default_pool()
        if pool is None:
            raise RefusedError(
                f"expected spec.poolName in VGPUClaim {claim.ref.name!r} or a default pool, found neither; "
                f'name a pool, or put the annotation {names.DEFAULT_POOL_ANNOTATION}: "true" on one'
            )
        return pool
    pool = await view.pool(claim.pool_name)
    if pool is None:
        there = sorted(each.name for each in view.pools())
        raise RefusedError(
            f"expected a VGPUPool {claim.pool_name!r}, as VGPUClaim {claim.ref.name!r} says, found "
            f"{_listed(there)}; name one that exists or create it"
        )
    return pool


def _no_hardware(pool: values.Pool, hardware: frozenset[fit.Shape]) -> str | None:
    return None if hardware else f"pool {pool.name!r} has no devices yet; pods will wait for them"


def _listed(found: list[str]) -> str:
    if not found:
        return "no pool at all"
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _spec_changed(asked: Review) -> bool:
    return asked.creates or asked.object.get("spec") != asked.old_object.get("spec")


def _deleting(raw: Object) -> bool:
    return "deletionTimestamp" in shape.mapping(raw, "metadata")
