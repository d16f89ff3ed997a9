{{/* Names, labels and images, as all manifests write them. Processes have fixed names: a cluster has one platform. */}}

{{/* The image of everything of ours. */}}
{{- define "vgpu.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Labels of every object; takes the context and a process's name. */}}
{{- define "vgpu.labels" -}}
{{ include "vgpu.selector" . }}
app.kubernetes.io/part-of: elastic-vgpu
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
{{- end }}

{{/* Labels that never change: what a process's pods are known by. */}}
{{- define "vgpu.selector" -}}
app.kubernetes.io/name: {{ .name }}
{{- end }}
