{{/* One service: (dict "root" $ "name" "orders" "settings" $settings "service" true). */}}

{{- define "jetmesh.service" -}}
{{- $pod := dict "env" (include "jetmesh.serviceEnv" .) "container" (include "jetmesh.serviceContainer" .) "mounts" (include "jetmesh.serviceMounts" .) "volumes" (include "jetmesh.serviceVolumes" .) "graceSeconds" (include "jetmesh.graceSeconds" .) -}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{- include "jetmesh.workload" . | nindent 2 }}
spec:
  {{- if eq .settings.autoscaling.kind "none" }}
  replicas: {{ int64 .settings.replicas }}
  {{- end }}
  revisionHistoryLimit: {{ int64 .settings.revisionHistoryLimit }}
  {{- with .settings.minReadySeconds }}
  minReadySeconds: {{ int64 . }}
  {{- end }}
  strategy: {{- include "jetmesh.strategy" . | nindent 4 }}
  selector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
  template: {{- include "jetmesh.podTemplate" (merge $pod .) | nindent 4 }}
{{- end -}}

{{/* A volume has one pod at a time. */}}
{{- define "jetmesh.strategy" -}}
{{- if .settings.strategy }}{{ toYaml .settings.strategy -}}
{{- else if .settings.volume.enabled }}{type: Recreate}
{{- else }}{type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
{{- end -}}
{{- end -}}

{{- define "jetmesh.serviceContainer" -}}
{{- if .settings.command }}
command: {{ toJson .settings.command }}
{{- else }}
args: [run, {{ .name }}]
{{- end }}
ports: {{- include "jetmesh.ports" . | nindent 2 }}
{{- end -}}

{{- define "jetmesh.ports" -}}
{{- $ports := dict "health" 8081 -}}
{{- if .settings.http.enabled -}}{{- $_ := set $ports "http" .settings.http.port -}}{{- end -}}
{{- if .settings.metrics.port -}}{{- $_ := set $ports "metrics" .settings.metrics.port -}}{{- end -}}
{{- $taken := dict -}}
{{- range $name, $port := $ports -}}
{{- with get $taken (toJson $port) -}}
{{- fail (printf "services.%s: port %v is both %s and %s; each needs one of its own" $.name $port . $name) -}}
{{- end -}}
{{- $_ := set $taken (toJson $port) $name }}
- {name: {{ $name }}, containerPort: {{ $port }}}
{{- end -}}
{{- end -}}

{{- define "jetmesh.serviceMounts" -}}
{{- include "jetmesh.brokerMounts" . }}
- {name: state, mountPath: /var/lib/jetmesh}
{{- end -}}

{{- define "jetmesh.serviceVolumes" -}}
{{- include "jetmesh.brokerVolumes" . }}
{{- if .settings.volume.enabled }}
- {name: state, persistentVolumeClaim: {claimName: {{ .settings.volume.claim | default (include "jetmesh.name" .) }}}}
{{- else }}
- {name: state, emptyDir: {sizeLimit: 256Mi}}
{{- end }}
{{- end -}}

{{/*
How long an edge serves on, twice: before the stop (preStop), while Services and gateways learn that its pod goes, and
then not ready any more, while it ends the connections that are kept open (JETMESH_HTTP_PAUSE_SECONDS).
*/}}
{{- define "jetmesh.pauseSeconds" -}}
{{- if .settings.http.enabled }}{{ int64 .settings.http.pauseSeconds }}{{ else }}0{{ end -}}
{{- end -}}

{{/* A hook of the values is left as it is. Kubernetes sleeps itself since 1.30; before, the image has a program for it. */}}
{{- define "jetmesh.lifecycle" -}}
{{- $lifecycle := default dict .settings.lifecycle -}}
{{- $seconds := include "jetmesh.pauseSeconds" . | int64 -}}
{{- if and $seconds (not $lifecycle.preStop) -}}
{{- $sleep := dict "exec" (dict "command" (list "sleep" (toString $seconds))) -}}
{{- if semverCompare ">=1.30-0" .root.Capabilities.KubeVersion.Version -}}
{{- $sleep = dict "sleep" (dict "seconds" $seconds) -}}
{{- end -}}
{{- $lifecycle = set $lifecycle "preStop" $sleep -}}
{{- end -}}
{{- toJson $lifecycle -}}
{{- end -}}

{{/* What a stop takes at most, and 15 seconds for what a drain can't foresee. */}}
{{- define "jetmesh.graceSeconds" -}}
{{- $pause := include "jetmesh.pauseSeconds" . -}}
{{- $needed := add .settings.drainSeconds $pause $pause -}}
{{- $given := int64 (default 0 .settings.terminationGracePeriodSeconds) -}}
{{- if and $given (lt $given $needed) -}}
{{- fail (printf "services.%s.terminationGracePeriodSeconds: %d seconds are less than the %d that a stop may take (drainSeconds and twice http.pauseSeconds); it would be killed" .name $given $needed) -}}
{{- end -}}
{{- $given | default (add $needed 15) -}}
{{- end -}}

{{- define "jetmesh.disruption" -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "jetmesh.metadata" . | nindent 2 }}
spec:
  maxUnavailable: {{ toJson .settings.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
{{- end -}}

{{- define "jetmesh.serviceClaim" -}}
{{- if and .settings.volume.enabled (not .settings.volume.claim) }}
{{ include "jetmesh.claim" . }}
{{- if not .settings.replicas }}
{{ include "jetmesh.firstConsumer" . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* The names of the services that are deployed. */}}
{{- define "jetmesh.deployed" -}}
{{- $names := list -}}
{{- range $name, $service := get .Values (include "jetmesh.servicesKey" .) -}}
{{- if (hasKey $service "enabled" | ternary $service $.Values.defaults).enabled -}}
{{- $names = append $names $name -}}
{{- end -}}
{{- end -}}
{{- join ", " $names -}}
{{- end -}}
