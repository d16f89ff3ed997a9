{{/* What would not work is refused before anything is applied: what was expected, what was found, what to do. */}}

{{- define "vgpu.guards" -}}
{{- include "vgpu.guard.namespace" . }}
{{- include "vgpu.guard.podSecurity" . }}
{{- include "vgpu.guard.scheduler" . }}
{{- include "vgpu.guard.certificates" . }}
{{- include "vgpu.guard.monitoring" . }}
{{- include "vgpu.guard.hami" . }}
{{- end }}

{{/* Policies and roles name our accounts in full, so that nobody else can be taken for them. */}}
{{- define "vgpu.guard.namespace" -}}
{{- if ne .Release.Namespace "vgpu-system" }}
{{- fail (printf "expected the namespace vgpu-system, found %s: add --namespace vgpu-system --create-namespace" .Release.Namespace) }}
{{- end }}
{{- end }}

{{- define "vgpu.guard.podSecurity" -}}
{{- $namespace := lookup "v1" "Namespace" "" .Release.Namespace }}
{{- $enforced := dig "metadata" "labels" "pod-security.kubernetes.io/enforce" "privileged" $namespace }}
{{- if ne $enforced "privileged" }}
{{- fail (printf "expected a namespace that lets the agent mount and see devices, found %s under Pod Security %q: run kubectl label --overwrite namespace %s pod-security.kubernetes.io/enforce=privileged" .Release.Namespace $enforced .Release.Namespace) }}
{{- end }}
{{- end }}

{{- define "vgpu.guard.scheduler" -}}
{{- if not (include "vgpu.scheduler.image" .) }}
{{- fail (printf "expected a kube-scheduler image, found none in kube-system: set scheduler.kubeScheduler.image to the kube-scheduler image of the Kubernetes project with the tag %s" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- end }}

{{- define "vgpu.guard.certificates" -}}
{{- $wanted := .Values.certificates }}
{{- if eq $wanted.mode "CertManager" }}
{{- if not (.Capabilities.APIVersions.Has "cert-manager.io/v1") }}
{{- fail "expected cert-manager for certificates.mode=CertManager, found no API cert-manager.io/v1: install cert-manager, or set certificates.mode=SelfSigned" }}
{{- end }}
{{- else if eq $wanted.mode "Provided" }}
{{- if not (and $wanted.secretName $wanted.authority) }}
{{- fail "expected certificates.secretName and certificates.authority for certificates.mode=Provided, found one of them empty: name the Secret with tls.crt and tls.key for vgpu-admission.vgpu-system.svc, and give its authority with --set-file certificates.authority=ca.crt" }}
{{- end }}
{{- if not (contains "-----BEGIN CERTIFICATE-----" $wanted.authority) }}
{{- fail "expected PEM in certificates.authority, found none: give the file with --set-file certificates.authority=ca.crt" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "vgpu.guard.monitoring" -}}
{{- $known := .Capabilities.APIVersions }}
{{- range $value, $kind := dict "podMonitors" "PodMonitor" "rules" "PrometheusRule" }}
{{- if and (get $.Values.monitoring $value) (not ($known.Has (printf "monitoring.coreos.com/v1/%s" $kind))) }}
{{- fail (printf "expected Prometheus' operator for monitoring.%s=true, found no kind %s of monitoring.coreos.com/v1: install its CRDs first, or set monitoring.%s=false" $value $kind $value) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Two that answer for the same resources on the same devices would promise each GPU twice. */}}
{{- define "vgpu.guard.hami" -}}
{{- if .Values.hami.aliases }}
{{- range (lookup "admissionregistration.k8s.io/v1" "MutatingWebhookConfiguration" "" "").items }}
{{- range .webhooks }}
{{- if eq .name "vgpu.hami.io" }}
{{- fail "expected to be alone with nvidia.com/gpu for hami.aliases=true, found HAMi's webhook vgpu.hami.io: uninstall HAMi first (docs/howto/migrate-from-hami.md), or set hami.aliases=false" }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
