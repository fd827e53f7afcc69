{{/* What scales one service: nothing, its CPU, or the lag of its durables. */}}

{{- define "jetmesh.autoscaler" -}}
{{- $scaling := .service.autoscaling -}}
{{- if and (ne $scaling.kind "none") .service.volume.enabled }}
{{- fail (printf "services.%s: a service with a volume of its own is one pod; set its autoscaling.kind to none" .name) }}
{{- end }}
{{- if and (ne $scaling.kind "keda") (lt (int $scaling.minReplicas) 1) }}
{{- fail (printf "services.%s.autoscaling.minReplicas: 0 needs kind: keda; a HorizontalPodAutoscaler can't wake what has no pod" .name) }}
{{- end }}
{{- if eq $scaling.kind "hpa" }}{{ include "jetmesh.hpa" . }}{{ end }}
{{- if eq $scaling.kind "keda" }}{{ include "jetmesh.scaledObject" . }}{{ end }}
{{- end -}}

{{- define "jetmesh.hpa" -}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "jetmesh.name" . }}}
  minReplicas: {{ .service.autoscaling.minReplicas }}
  maxReplicas: {{ .service.autoscaling.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ .service.autoscaling.cpu }}}}
{{- end -}}

{{- define "jetmesh.monitoring" -}}
{{- if .root.Values.broker.monitoring -}}
{{- .root.Values.broker.monitoring -}}
{{- else if .root.Values.broker.url -}}
{{- fail "broker.monitoring: KEDA asks every server for the lag; name the headless Service of the servers and its port, as nats-headless.nats.svc.cluster.local:8222" -}}
{{- else -}}
{{- printf "%s.%s.svc.cluster.local:8222" (include "jetmesh.name" (dict "root" .root "name" "broker")) .root.Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "jetmesh.scaledObject" -}}
{{- $scaling := .service.autoscaling -}}
{{- if not .service.consumers }}
{{- fail (printf "services.%s.consumers: KEDA scales on the lag of durables; list them as {stream, durable}" .name) }}
{{- end }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ include "jetmesh.name" . }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: {{ $scaling.pollingSeconds }}
  cooldownPeriod: {{ $scaling.cooldownSeconds }}
  fallback: {failureThreshold: 3, replicas: {{ $scaling.fallbackReplicas }}}
  triggers: {{- range .service.consumers }}
    - type: nats-jetstream
      metadata:
        natsServerMonitoringEndpoint: {{ include "jetmesh.monitoring" $ | quote }}
        account: {{ $.root.Values.broker.account | quote }}
        stream: {{ .stream }}
        consumer: {{ .durable }}
        lagThreshold: {{ $scaling.lag | quote }}
  {{- end }}
{{- end -}}
