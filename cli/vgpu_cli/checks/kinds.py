"""Kinds that only the checks look at."""

from vgpu_kube.resources import Resource

_REGISTRATION = ("admissionregistration.k8s.io", "v1")
MUTATING_WEBHOOKS = Resource(
    *_REGISTRATION, "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", namespaced=False
)
VALIDATING_WEBHOOKS = Resource(
    *_REGISTRATION, "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", namespaced=False
)
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet", namespaced=True)
SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
