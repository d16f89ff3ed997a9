{{/* The Secret that vgpu-admission serves with. */}}
{{- define "vgpu.certificates.secret" -}}
{{- if eq .Values.certificates.mode "Provided" -}}
{{ .Values.certificates.secretName }}
{{- else -}}
vgpu-admission-tls
{{- end -}}
{{- end }}

{{/* A pod that sees to it that certificate and trust are there and will last. */}}
{{- define "vgpu.certificates.pod" -}}
metadata:
  labels: {{- include "vgpu.labels" (dict "context" . "name" "vgpu-certificates") | nindent 4 }}
spec:
  {{- include "vgpu.placement" (dict "context" . "values" .Values.admission) | nindent 2 }}
  serviceAccountName: vgpu-certificates
  restartPolicy: OnFailure
  securityContext: {{- include "vgpu.podSecurity" . | nindent 4 }}
  containers:
    - name: certificates
      image: {{ include "vgpu.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      terminationMessagePolicy: FallbackToLogsOnError
      command: [python, -m, vgpu_webhooks.certificates]
      args:
        - --namespace={{ .Release.Namespace }}
        - --log-level={{ .Values.admission.logLevel }}
      resources:
        requests: {cpu: 50m, memory: 64Mi}
        limits: {memory: 256Mi}
      securityContext: {{- include "vgpu.containerSecurity" . | nindent 8 }}
{{- end }}
