{{/* The kube-scheduler image: as told, or that of a control plane whose pods can be seen. */}}
{{- define "vgpu.scheduler.image" -}}
{{- $found := .Values.scheduler.kubeScheduler.image }}
{{- range (lookup "v1" "Pod" "kube-system" "").items }}
{{- if and (not $found) (eq (dig "metadata" "labels" "component" "" .) "kube-scheduler") }}
{{- $found = (first .spec.containers).image }}
{{- end }}
{{- end }}
{{- $found }}
{{- end }}

{{/* Its configuration; the extender is asked over the loopback of the pod both share. */}}
{{- define "vgpu.scheduler.configuration" -}}
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {qps: 1000, burst: 2000} # the default of 50 would cap the binding rate
leaderElection:
  leaderElect: true
  resourceNamespace: {{ .Release.Namespace }}
  resourceName: vgpu-scheduler
  leaseDuration: {{ .Values.scheduler.leaseSeconds }}s
  renewDeadline: {{ sub .Values.scheduler.leaseSeconds 2 }}s
  retryPeriod: 2s
percentageOfNodesToScore: 100
profiles:
  - schedulerName: vgpu-scheduler
extenders:
  - urlPrefix: http://127.0.0.1:8888
    filterVerb: filter
    bindVerb: bind
    preemptVerb: preempt
    httpTimeout: 5s
    nodeCacheCapable: true
    ignorable: false
    managedResources:
      - {name: vgpu.dev/slice, ignoredByScheduler: true}
{{- end }}
