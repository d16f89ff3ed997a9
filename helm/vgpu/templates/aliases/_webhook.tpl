{{/* Sends admission the pods that ask in HAMi's words, but for those that HAMi would leave alone too. */}}
{{- define "vgpu.aliases.webhook" -}}
name: pods.hami.vgpu.dev
clientConfig:
  service: {name: vgpu-admission, namespace: vgpu-system, path: /mutate/hami, port: 443}
rules:
  - {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods], scope: Namespaced}
objectSelector:
  matchExpressions:
    - {key: vgpu.dev/claim, operator: DoesNotExist}
    - {key: hami.io/webhook, operator: NotIn, values: [ignore]}
namespaceSelector:
  matchExpressions:
    - {key: kubernetes.io/metadata.name, operator: NotIn, values: [kube-system, vgpu-system]}
    - {key: hami.io/webhook, operator: NotIn, values: [ignore]}
matchConditions:
  - name: asks-in-the-words-of-hami
    expression: >-
      (object.spec.containers + (has(object.spec.initContainers) ? object.spec.initContainers : []))
      .exists(c, has(c.resources) && has(c.resources.limits) && c.resources.limits.exists(k, k in
      ['nvidia.com/gpu', 'nvidia.com/gpumem', 'nvidia.com/gpumem-percentage', 'nvidia.com/gpucores']))
failurePolicy: Fail
matchPolicy: Equivalent
reinvocationPolicy: IfNeeded
sideEffects: None
timeoutSeconds: 5
admissionReviewVersions: [v1]
{{- end }}
