{{/* Names and labels. Each template that takes a component gets (dict "root" $ "name" "orders"). */}}

{{- define "jetmesh.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "jetmesh.name" -}}
{{- printf "%s-%s" (include "jetmesh.fullname" .root) .name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "jetmesh.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .name | quote }}
{{- end -}}

{{- define "jetmesh.labels" -}}
{{ include "jetmesh.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: jetmesh
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "jetmesh.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* A service's values: its own over the defaults. */}}
{{- define "jetmesh.service" -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy (default dict (get .root.Values.services .name))) | toYaml -}}
{{- end -}}

{{/* The `restricted` level of the Pod Security Standards, and no more than it. */}}
{{- define "jetmesh.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "jetmesh.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Where the broker is. */}}
{{- define "jetmesh.brokerUrl" -}}
{{- if .Values.broker.url }}{{ .Values.broker.url }}{{ else }}nats://{{ include "jetmesh.name" (dict "root" . "name" "broker") }}:4222{{ end -}}
{{- end -}}

{{/* The Secret of the nkey seed of a component with `credentials`; empty where it has none. */}}
{{- define "jetmesh.seedSecret" -}}
{{- if .credentials.secret }}{{ .credentials.secret -}}
{{- else if .credentials.seed }}{{ include "jetmesh.name" . }}-nkey{{ else }}{{ .root.Values.broker.keys }}{{ end -}}
{{- end -}}

{{/* Its key: what the mesh's own key files are called, of the service or of the user that a Job is. */}}
{{- define "jetmesh.seedKey" -}}
{{- .credentials.key | default (printf "%s.nk" (.user | default .name)) -}}
{{- end -}}

{{/* Whether the seed of the user that answers `nats micro` is in the same Secret. */}}
{{- define "jetmesh.microKey" -}}
{{- if and .service .root.Values.broker.keys (eq (include "jetmesh.seedSecret" .) .root.Values.broker.keys) }}{{ .name }}-micro.nk{{ end -}}
{{- end -}}

{{/* Environment of every process on the broker: who it is and where the broker is. */}}
{{- define "jetmesh.brokerEnv" -}}
- {name: JETMESH_APP, value: {{ .root.Values.app | quote }}}
- {name: NATS_URL, value: {{ include "jetmesh.brokerUrl" .root | quote }}}
- {name: JETMESH_LOG_FORMAT, value: json}
{{- with .root.Values.topology.partitions }}
{{- if not $.root.Values.broker.url }}
{{- fail "topology.partitions: the embedded broker routes nothing by key; name your own broker with broker.url" }}
{{- end }}
- {name: JETMESH_PARTITIONS, value: {{ . | quote }}}
{{- end }}
{{- if include "jetmesh.seedSecret" . }}
- {name: JETMESH_NATS_NKEY_SEED, value: /etc/jetmesh/nkey/seed}
{{- if .service }}
- {name: JETMESH_NATS_API_PREFIX, value: {{ .root.Values.broker.apiPrefix | quote }}}
{{- end }}
{{- end }}
{{- if include "jetmesh.microKey" . }}
- {name: JETMESH_NATS_MICRO_NKEY_SEED, value: /etc/jetmesh/nkey/micro}
{{- end }}
{{- with .root.Values.broker.tls }}
{{- if .secret }}
- {name: JETMESH_NATS_TLS_CA, value: /etc/jetmesh/tls/ca.crt}
{{- if .certificate }}
- {name: JETMESH_NATS_TLS_CERTIFICATE, value: /etc/jetmesh/tls/tls.crt}
- {name: JETMESH_NATS_TLS_KEY, value: /etc/jetmesh/tls/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jetmesh.brokerMounts" -}}
- {name: tmp, mountPath: /tmp}
{{- if include "jetmesh.seedSecret" . }}
- {name: nkey, mountPath: /etc/jetmesh/nkey, readOnly: true}
{{- end }}
{{- if .root.Values.broker.tls.secret }}
- {name: tls, mountPath: /etc/jetmesh/tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "jetmesh.brokerVolumes" -}}
- {name: tmp, emptyDir: {sizeLimit: 64Mi}}
{{- with include "jetmesh.seedSecret" . }}
- name: nkey
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - {key: {{ include "jetmesh.seedKey" $ }}, path: seed}
      {{- with include "jetmesh.microKey" $ }}
      - {key: {{ . }}, path: micro}
      {{- end }}
{{- end }}
{{- with .root.Values.broker.tls }}
{{- if .secret }}
- name: tls
  secret:
    secretName: {{ .secret }}
    defaultMode: 0440
    items:
      - {key: {{ .ca }}, path: ca.crt}
      {{- if .certificate }}
      - {key: {{ .certificate }}, path: tls.crt}
      - {key: {{ .key }}, path: tls.key}
      {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* A Secret for a seed that the values hold. */}}
{{- define "jetmesh.seed" -}}
{{- if and .credentials.seed (not .credentials.secret) }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ include "jetmesh.name" . }}-nkey
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
type: Opaque
stringData:
  {{ include "jetmesh.seedKey" . }}: {{ .credentials.seed | quote }}
{{- end }}
{{- end -}}

{{/* What a Job of the chart has in its pod, around its one container's command; `claim` is a volume that it writes to. */}}
{{- define "jetmesh.jobPod" -}}
metadata:
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
    {{- with .jobName }}
    job-name: {{ . }}
    {{- end }}
spec:
  restartPolicy: Never
  serviceAccountName: {{ include "jetmesh.name" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{- range . }}
    - name: {{ . }}
  {{- end }}
  {{- end }}
  securityContext: {{- include "jetmesh.podSecurity" . | nindent 4 }}
  containers:
    - name: {{ .name }}
      image: {{ include "jetmesh.image" .root }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      {{- with .command }}
      command: {{ toJson . }}
      {{- end }}
      args: {{ toJson .args }}
      env: {{- include "jetmesh.brokerEnv" . | nindent 8 }}
        - {name: JETMESH_REPLICAS, value: {{ .root.Values.topology.streamReplicas | quote }}}
        {{- if .claim }}
        - {name: JETMESH_ARCHIVE, value: /var/lib/jetmesh/archive}
        {{- end }}
      resources: {{- toYaml (.resources | default .root.Values.topology.resources) | nindent 8 }}
      securityContext: {{- include "jetmesh.containerSecurity" . | nindent 8 }}
      volumeMounts: {{- include "jetmesh.brokerMounts" . | nindent 8 }}
        {{- if .claim }}
        - {name: state, mountPath: /var/lib/jetmesh}
        {{- end }}
  volumes: {{- include "jetmesh.brokerVolumes" . | nindent 4 }}
    {{- with .claim }}
    - {name: state, persistentVolumeClaim: {claimName: {{ . }}}}
    {{- end }}
{{- end -}}

{{/* A ServiceAccount that is a name and nothing else. */}}
{{- define "jetmesh.account" -}}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ include "jetmesh.name" . }}
  labels: {{- include "jetmesh.labels" . | nindent 4 }}
  {{- with .annotations }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end -}}
