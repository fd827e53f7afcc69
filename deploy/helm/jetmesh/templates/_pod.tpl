{{/*
The pod of every component: service, Job, CronJob, test, broker, mail sink. A component tells, in YAML, what is its own:
`env`, `container` (command, ports, …), `mounts`, `volumes`. Its settings add to that or win over it, by name.
*/}}

{{- define "jetmesh.podTemplate" -}}
metadata:
  labels: {{- include "jetmesh.podLabels" . | nindent 4 }}
  {{- with include "jetmesh.merged" (list .root.Values.commonAnnotations (include "jetmesh.merged" (list .settings.podAnnotations .podAnnotations) | fromJson)) | fromJson }}
  annotations: {{- toYaml . | nindent 4 }}
  {{- end }}
spec: {{- include "jetmesh.podSpec" . | nindent 2 }}
{{- end -}}

{{- define "jetmesh.podLabels" -}}
{{- $labels := include "jetmesh.merged" (list .settings.podLabels (empty .jobName | ternary dict (dict "job-name" .jobName))) | fromJson -}}
{{- include "jetmesh.labels" (dict "root" .root "name" .name "labels" $labels) -}}
{{- end -}}

{{- define "jetmesh.podSpec" -}}
{{- with .restartPolicy }}
restartPolicy: {{ . }}
{{- end }}
serviceAccountName: {{ include "jetmesh.accountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .graceSeconds }}
terminationGracePeriodSeconds: {{ int64 . }}
{{- end }}
{{- with .deadlineSeconds }}
activeDeadlineSeconds: {{ int64 . }}
{{- end }}
{{- with default list .root.Values.image.pullSecrets | uniq }}
imagePullSecrets: {{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- with .settings.podSecurityContext }}
securityContext: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with include "jetmesh.spread" . }}
topologySpreadConstraints: {{- . | nindent 2 }}
{{- end }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "schedulerName" "hostAliases" "dnsPolicy" "dnsConfig" }}
{{- with get $.settings $field }}
{{ dict $field . | toYaml }}
{{- end }}
{{- end }}
{{- with include "jetmesh.others" (list . "initContainers") | fromYamlArray }}
initContainers: {{- toYaml . | nindent 2 }}
{{- end }}
containers:
  {{- include "jetmesh.container" . | nindent 2 }}
  {{- with include "jetmesh.others" (list . "extraContainers") | fromYamlArray }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with include "jetmesh.volumes" . | fromYamlArray }}
volumes: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "jetmesh.container" -}}
- name: {{ .containerName | default .name }}
  image: {{ .image | default (include "jetmesh.image" .root) }}
  {{- if not .image }}
  imagePullPolicy: {{ .root.Values.image.pullPolicy }}
  {{- end }}
  {{- .container | trim | nindent 2 }}
  {{- with include "jetmesh.envList" . | fromYamlArray }}
  env: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- range $field := list "envFrom" "lifecycle" "startupProbe" "livenessProbe" "readinessProbe" "resources" "securityContext" }}
  {{- with get $.settings $field }}
  {{ $field }}: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- with include "jetmesh.unique" (list "mountPath" (.mounts | fromYamlArray) (include "jetmesh.rendered" (list .root .settings.extraVolumeMounts) | fromYamlArray)) | fromYamlArray }}
  volumeMounts: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "jetmesh.volumes" -}}
{{- include "jetmesh.unique" (list "name" (.volumes | fromYamlArray) (include "jetmesh.rendered" (list .root .settings.extraVolumes) | fromYamlArray)) -}}
{{- end -}}

{{/* Containers beside the component's own: (list . "extraContainers"). One without a securityContext has its neighbour's. */}}
{{- define "jetmesh.others" -}}
{{- $here := index . 0 -}}
{{- $field := index . 1 -}}
{{- $containers := list -}}
{{- range include "jetmesh.rendered" (list $here.root (get $here.settings $field)) | fromYamlArray -}}
{{- if eq .name ($here.containerName | default $here.name) -}}
{{- fail (printf "%s.%s: %s is the name of the component's own container" $here.name $field .name) -}}
{{- end -}}
{{- $containers = append $containers (merge (deepCopy .) (dict "securityContext" (default dict $here.settings.securityContext))) -}}
{{- end -}}
{{- include "jetmesh.unique" (list "name" list $containers) -}}
{{- end -}}

{{/* Constraints by topology key; they count the component's own pods unless they say otherwise. */}}
{{- define "jetmesh.spread" -}}
{{- $constraints := list -}}
{{- range $key, $constraint := .settings.topologySpreadConstraints -}}
{{- if not (hasKey $constraint "labelSelector") -}}
{{- $constraint = set (deepCopy $constraint) "labelSelector" (dict "matchLabels" (include "jetmesh.selector" $ | fromYaml)) -}}
{{- end -}}
{{- $constraints = append $constraints (set $constraint "topologyKey" $key) -}}
{{- end -}}
{{- with $constraints }}{{ toYaml . }}{{ end -}}
{{- end -}}

{{/* A Job's pod with the mesh's image, around its `command` and `args`; `claim` is a volume that it writes to. */}}
{{- define "jetmesh.jobPod" -}}
{{- $own := dict "env" (include "jetmesh.jobEnv" .) "container" (include "jetmesh.jobContainer" .) "mounts" (include "jetmesh.jobMounts" .) "volumes" (include "jetmesh.jobVolumes" .) "restartPolicy" "Never" -}}
{{- include "jetmesh.podTemplate" (merge $own .) -}}
{{- end -}}

{{- define "jetmesh.jobEnv" -}}
{{- include "jetmesh.brokerEnv" . }}
JETMESH_REPLICAS: {{ .root.Values.topology.streamReplicas | toJson | quote }}
{{- if .claim }}
JETMESH_ARCHIVE: /var/lib/jetmesh/archive
{{- end }}
{{- end -}}

{{- define "jetmesh.jobContainer" -}}
{{- with .command }}
command: {{ toJson . }}
{{- end }}
{{- with .args }}
args: {{ toJson . }}
{{- end }}
{{- end -}}

{{- define "jetmesh.jobMounts" -}}
{{- include "jetmesh.brokerMounts" . }}
{{- if .claim }}
- {name: state, mountPath: /var/lib/jetmesh}
{{- end }}
{{- end -}}

{{- define "jetmesh.jobVolumes" -}}
{{- include "jetmesh.brokerVolumes" . }}
{{- with .claim }}
- {name: state, persistentVolumeClaim: {claimName: {{ . }}}}
{{- end }}
{{- end -}}

{{- define "jetmesh.claim" -}}
{{- with .settings.volume }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{- include "jetmesh.metadata" (merge (dict "annotations" (.keep | ternary (dict "helm.sh/resource-policy" "keep") dict)) $) | nindent 2 }}
spec:
  accessModes: [ReadWriteOnce]
  {{- with .className }}
  storageClassName: {{ . }}
  {{- end }}
  resources: {requests: {storage: {{ .size }}}}
{{- end }}
{{- end -}}

{{/*
The first consumer of a claim that no pod has yet: a storage class may bind a volume only where a pod wants it, and
`helm --wait` waits for that. It also finds out whether the volume can be written to.
*/}}
{{- define "jetmesh.firstConsumer" -}}
{{- $settings := pick .settings "labels" "annotations" "podLabels" "podAnnotations" "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "schedulerName" "podSecurityContext" "securityContext" "serviceAccountName" -}}
{{- $_ := set $settings "resources" .root.Values.topology.resources -}}
{{- $here := dict "root" .root "name" .name "settings" $settings "restartPolicy" "Never" "env" "" -}}
{{- $_ := set $here "container" "command: [test, -w, /var/lib/jetmesh]" -}}
{{- $_ := set $here "mounts" "[{name: state, mountPath: /var/lib/jetmesh}]" -}}
{{- $_ := set $here "volumes" (printf "[{name: state, persistentVolumeClaim: {claimName: %s}}]" (include "jetmesh.name" .)) -}}
{{- $pod := include "jetmesh.podTemplate" $here -}}
{{- $_ := set $here "object" (printf "%s-volume-%s" (include "jetmesh.name" . | trunc 46 | trimSuffix "-") (sha256sum $pod | trunc 8)) }}
---
apiVersion: batch/v1
kind: Job
metadata: {{- include "jetmesh.workload" $here | nindent 2 }}
spec:
  backoffLimit: 3
  template: {{- $pod | nindent 4 }}
{{- end -}}
