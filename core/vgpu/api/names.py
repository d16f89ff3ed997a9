"""Every name the project gives to something in the cluster, once.

Labels, annotations, resources, finalizers and kinds; only constants, no logic.
"""

GROUP = "vgpu.dev"  # API group of the three kinds, prefix of every key below
VERSION = "v1alpha1"  # the one served version
API_VERSION = f"{GROUP}/{VERSION}"  # as it stands in an object's apiVersion

POOL_KIND = "VGPUPool"  # a set of devices with one policy; cluster-scoped
POOL_PLURAL = "vgpupools"
CLAIM_KIND = "VGPUClaim"  # what a team asks for; namespaced
CLAIM_PLURAL = "vgpuclaims"
NODE_KIND = "VGPUNode"  # a node's ledger and facts; cluster-scoped, written by the system only
NODE_PLURAL = "vgpunodes"

CLAIM_LABEL = f"{GROUP}/claim"  # on a pod: the claim it joins; all that a user writes
POOL_LABEL = f"{GROUP}/pool"  # on Events and metrics of a claim: the pool it draws from

DEVICES_ANNOTATION = f"{GROUP}/devices"  # on a bound pod: its device UUIDs, joined by commas
SLICE_ANNOTATION = f"{GROUP}/slice"  # on a bound pod: the slice's id in the VGPUNode
QUEUE_GATE = f"{GROUP}/queue"  # scheduling gate of a labelled pod, gone once it has a place
RETRY_ANNOTATION = f"{GROUP}/retry"  # on a waiting pod: patched so that kube-scheduler tries it again
DEFAULT_POOL_ANNOTATION = f"{GROUP}/is-default-pool"  # on a pool: "true" where claims without poolName go

MEMORY_RESOURCE = f"{GROUP}/memory-mib"  # extended resource: GPU memory in MiB
COMPUTE_RESOURCE = f"{GROUP}/compute-percent"  # extended resource: percent of one GPU
SLICE_RESOURCE = f"{GROUP}/slice"  # marker resource that brings the extender in

FINALIZER = f"{GROUP}/in-use"  # holds a pool or claim back until nothing uses it
OPERATOR_PREFIX = f"operator.{GROUP}"  # of the annotations in which the operator keeps its own progress

SCHEDULER_NAME = "vgpu-scheduler"  # schedulerName of every labelled pod
CSI_DRIVER = "vgpu.dev"  # driver of the volume with shim and limits; the kubelet knows the agent by it
