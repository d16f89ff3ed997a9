{{/* What the pods of all processes have in common. */}}

{{/* Who pulls, where it runs, and whom it outranks; takes the context and a process's values. */}}
{{- define "vgpu.placement" -}}
{{- with .context.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Replicas on different nodes where there are several; takes a process's name. */}}
{{- define "vgpu.spread" -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "vgpu.selector" . | nindent 8 }}
{{- end }}

{{/* A user without rights, as every process but the agent. */}}
{{- define "vgpu.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "vgpu.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Given time to start, restarted when it cannot go on, left out until it knows the cluster; takes port and scheme. */}}
{{- define "vgpu.probes" -}}
{{- $scheme := .scheme | default "HTTP" }}
startupProbe:
  httpGet: {path: /healthz, port: {{ .port }}, scheme: {{ $scheme }}}
  periodSeconds: 1
  failureThreshold: 120
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /healthz, port: {{ .port }}, scheme: {{ $scheme }}}
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: {{ .port }}, scheme: {{ $scheme }}}
  periodSeconds: 2
  timeoutSeconds: 5
{{- end }}
