{{/* What scales one service: nothing, its CPU, or the lag of its durables. */}}

{{- define "jetmesh.autoscaler" -}}
{{- $scaling := .settings.autoscaling -}}
{{- if and (ne $scaling.kind "none") .settings.volume.enabled }}
{{- fail (printf "services.%s: a service with a volume of its own is one pod; set its autoscaling.kind to none" .name) }}
{{- end }}
{{- if and (ne $scaling.kind "keda") (lt (int $scaling.minReplicas) 1) }}
{{- fail (printf "services.%s.autoscaling.minReplicas: 0 needs kind: keda; a HorizontalPodAutoscaler can't wake what has no pod" .name) }}
{{- end }}
{{- if eq $scaling.kind "hpa" }}{{ include "jetmesh.hpa" . }}{{ end }}
{{- if eq $scaling.kind "keda" }}{{ include "jetmesh.scaledObject" . }}{{ end }}
{{- end -}}

{{- define "jetmesh.hpa" -}}
{{- $scaling := .settings.autoscaling -}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {{- include "jetmesh.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ include "jetmesh.name" . }}}
  minReplicas: {{ $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: Resource
      resource: {name: cpu, target: {type: Utilization, averageUtilization: {{ $scaling.cpu }}}}
  {{- with $scaling.behavior }}
  behavior: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "jetmesh.monitoring" -}}
{{- if .root.Values.broker.monitoring -}}
{{- .root.Values.broker.monitoring -}}
{{- else if not (include "jetmesh.ownBroker" .root) -}}
{{- fail "broker.monitoring: KEDA asks every server for the lag; name the headless Service of the servers and its port, as nats-headless.nats.svc.cluster.local:8222" -}}
{{- else -}}
{{- printf "%s.%s.svc.cluster.local:8222" (include "jetmesh.name" (dict "root" .root "name" "broker")) .root.Release.Namespace -}}
{{- end -}}
{{- end -}}

{{- define "jetmesh.scaledObject" -}}
{{- $scaling := .settings.autoscaling -}}
{{- if not .settings.consumers }}
{{- fail (printf "services.%s.consumers: KEDA scales on the lag of durables; list them as `jetmesh topology values` prints them" .name) }}
{{- end }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {{- include "jetmesh.metadata" . | nindent 2 }}
spec:
  scaleTargetRef: {name: {{ include "jetmesh.name" . }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: {{ int64 $scaling.pollingSeconds }}
  cooldownPeriod: {{ int64 $scaling.cooldownSeconds }}
  fallback: {failureThreshold: 3, replicas: {{ $scaling.fallbackReplicas }}}
  {{- with $scaling.behavior }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior: {{- toYaml . | nindent 8 }}
  {{- end }}
  triggers: {{- range uniq .settings.consumers }}
    - type: nats-jetstream
      metadata:
        natsServerMonitoringEndpoint: {{ include "jetmesh.monitoring" $ | quote }}
        account: {{ $.root.Values.broker.account | quote }}
        stream: {{ with $.root.Values.tenant }}{{ . }}_{{ end }}{{ .stream }}
        consumer: {{ .durable }}
        lagThreshold: {{ $scaling.lag | toJson | quote }}
  {{- end }}
{{- end -}}
