{{/* The Deployment of one service: (dict "root" $ "name" "orders" "service" $service "credentials" $service.credentials). */}}

{{- define "jetmesh.volumeClaim" -}}
{{- .service.volume.claim | default (include "jetmesh.name" .) -}}
{{- end -}}

{{- define "jetmesh.env" -}}
{{- $service := .service -}}
{{- include "jetmesh.brokerEnv" . }}
- {name: JETMESH_CONNECT_SECONDS, value: "3600"}
- {name: JETMESH_HEALTH_HOST, value: 0.0.0.0}
- {name: JETMESH_HEALTH_PORT, value: "8081"}
- {name: JETMESH_DRAIN_SECONDS, value: {{ $service.drainSeconds | quote }}}
- {name: JETMESH_SLOTS, value: {{ $service.slots | quote }}}
- {name: JETMESH_LOG_LEVEL, value: {{ $service.logLevel }}}
- {name: JETMESH_STATE, value: /var/lib/jetmesh}
{{- if $service.http.enabled }}
{{- $tokens := $service.http.tokens | default (printf "%s-http" (include "jetmesh.name" .)) }}
- {name: JETMESH_HTTP_HOST, value: 0.0.0.0}
- {name: JETMESH_HTTP_PORT, value: {{ $service.http.port | quote }}}
- name: JETMESH_HTTP_SECRET
  valueFrom: {secretKeyRef: {name: {{ $tokens }}, key: secret}}
- name: JETMESH_HTTP_OPERATOR_TOKEN
  valueFrom: {secretKeyRef: {name: {{ $tokens }}, key: operator-token}}
{{- end }}
{{- if $service.mail }}
{{- with .root.Values.mail }}
- {name: JETMESH_MAIL_SENDER, value: {{ .sender | quote }}}
{{- if .secret }}
- name: JETMESH_SMTP_URL
  valueFrom: {secretKeyRef: {name: {{ .secret }}, key: {{ .key }}}}
{{- else }}
- {name: JETMESH_SMTP_URL, value: {{ default (printf "smtp://%s:2525" (include "jetmesh.name" (dict "root" $.root "name" "mailsink"))) .url | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- include "jetmesh.telemetryEnv" . }}
{{- range $name, $value := $service.env }}
- {name: {{ $name }}, value: {{ $value | quote }}}
{{- end }}
{{- range $name, $from := $service.secretEnv }}
- name: {{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $from.secret }}, key: {{ $from.key }}}}
{{- end }}
{{- end -}}

{{- define "jetmesh.telemetryEnv" -}}
{{- $attributes := list -}}
{{- range $name, $value := .root.Values.telemetry.resourceAttributes -}}
{{- $attributes = append $attributes (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- with .root.Values.telemetry }}
{{- if .endpoint }}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- {name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ .endpoint | quote }}}
- {name: OTEL_EXPORTER_OTLP_PROTOCOL, value: {{ .protocol }}}
# Jaeger corrects no clocks between spans of one host.
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ prepend $attributes (printf "k8s.namespace.name=%s,k8s.pod.name=$(POD_NAME),service.instance.id=$(POD_UID),host.name=$(NODE_NAME)" $.root.Release.Namespace) | join "," | quote }}
{{- with .sampler }}
- {name: OTEL_TRACES_SAMPLER, value: {{ . }}}
{{- end }}
{{- with .samplerArgument }}
- {name: OTEL_TRACES_SAMPLER_ARG, value: {{ . | quote }}}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Probes: liveness asks the event loop alone, for a broker that is away must not restart every pod at once. */}}
{{- define "jetmesh.probes" -}}
startupProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  timeoutSeconds: 3
{{- end -}}

{{- define "jetmesh.container" -}}
- name: {{ .name }}
  image: {{ include "jetmesh.image" .root }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- if .service.command }}
  command: {{ toJson .service.command }}
  {{- else }}
  args: [run, {{ .name }}]
  {{- end }}
  env: {{- include "jetmesh.env" . | nindent 4 }}
  ports:
    - {name: health, containerPort: 8081}
    {{- if .service.http.enabled }}
    - {name: http, containerPort: {{ .service.http.port }}}
    {{- end }}
    {{- if .service.metrics.port }}
    - {name: metrics, containerPort: {{ .service.metrics.port }}}
    {{- end }}
  {{- include "jetmesh.probes" . | nindent 2 }}
  resources: {{- toYaml .service.resources | nindent 4 }}
  securityContext: {{- include "jetmesh.containerSecurity" . | nindent 4 }}
  volumeMounts: {{- include "jetmesh.brokerMounts" . | nindent 4 }}
    - {name: state, mountPath: /var/lib/jetmesh}
{{- end -}}

{{- define "jetmesh.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "jetmesh.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{- define "jetmesh.pod" -}}
metadata:
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
    {{- with .service.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  {{- with .service.podAnnotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  serviceAccountName: {{ include "jetmesh.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ add .service.drainSeconds 15 }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{- range . }}
    - name: {{ . }}
  {{- end }}
  {{- end }}
  {{- with .service.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  securityContext: {{- include "jetmesh.podSecurity" . | nindent 4 }}
  topologySpreadConstraints: {{- include "jetmesh.spread" . | trim | nindent 4 }}
  {{- range $field := list "nodeSelector" "tolerations" "affinity" }}
  {{- with get $.service $field }}
  {{ $field }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  containers: {{- include "jetmesh.container" . | nindent 4 }}
  volumes: {{- include "jetmesh.brokerVolumes" . | nindent 4 }}
    {{- if .service.volume.enabled }}
    - {name: state, persistentVolumeClaim: {claimName: {{ include "jetmesh.volumeClaim" . }}}}
    {{- else }}
    - {name: state, emptyDir: {sizeLimit: 256Mi}}
    {{- end }}
{{- end -}}

{{- define "jetmesh.deployment" -}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
spec:
  {{- if eq .service.autoscaling.kind "none" }}
  replicas: {{ .service.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  {{- if .service.volume.enabled }}
  strategy: {type: Recreate}
  {{- else }}
  strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 0, maxSurge: 1}}
  {{- end }}
  selector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
  template: {{- include "jetmesh.pod" . | nindent 4 }}
{{- end -}}

{{- define "jetmesh.disruption" -}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ .service.maxUnavailable }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels: {{- include "jetmesh.selector" . | nindent 6 }}
{{- end -}}

{{- define "jetmesh.claim" -}}
{{- if and .service.volume.enabled (not .service.volume.claim) }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
  {{- if .service.volume.keep }}
  annotations: {helm.sh/resource-policy: keep}
  {{- end }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .service.volume.className }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .service.volume.size }}}}
{{- end }}
{{- end -}}
