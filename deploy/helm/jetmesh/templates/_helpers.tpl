{{/*
Names, labels, annotations. A component is (dict "root" $ "name" "orders" "settings" $settings …); whatever has labels and
annotations from several places has them merged here, by key.
*/}}

{{/* The value that has the services: those of another app than the reference mesh's take the place of its own. */}}
{{- define "jetmesh.servicesKey" -}}
{{- ternary "ownServices" "services" (not (empty .Values.ownServices)) -}}
{{- end -}}

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

{{- define "jetmesh.recommendedLabels" -}}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: jetmesh
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Labels of an object: the recommended ones, the common ones, and `labels`; each wins over those before it. */}}
{{- define "jetmesh.labels" -}}
{{- $labels := include "jetmesh.recommendedLabels" . | fromYaml -}}
{{- $labels = include "jetmesh.merged" (list $labels .root.Values.commonLabels) | fromJson -}}
{{- $labels = include "jetmesh.merged" (list $labels (default dict .labels)) | fromJson -}}
{{- range $name, $value := include "jetmesh.selector" . | fromYaml -}}
{{- if hasKey $labels $name -}}
{{- fail (printf "%s: the label %s selects the pods of a component and can't be set" $.name $name) -}}
{{- end -}}
{{- $_ := set $labels $name $value -}}
{{- end -}}
{{- toYaml $labels -}}
{{- end -}}

{{/* Name, namespace, labels, annotations of an object; `object` where it is not called as its component. */}}
{{- define "jetmesh.metadata" -}}
name: {{ .object | default (include "jetmesh.name" .) }}
namespace: {{ .root.Release.Namespace }}
labels: {{- include "jetmesh.labels" . | nindent 2 }}
{{- with include "jetmesh.merged" (list .root.Values.commonAnnotations (default dict .annotations)) | fromJson }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The same of what has pods: a Deployment, a Job. */}}
{{- define "jetmesh.workload" -}}
{{- include "jetmesh.metadata" (merge (dict "labels" .settings.labels "annotations" .settings.annotations) .) -}}
{{- end -}}

{{/* Where images come from, with a slash; empty where each names it itself. */}}
{{- define "jetmesh.registry" -}}
{{- with (.Values.global).imageRegistry }}{{ trimSuffix "/" . }}/{{ end -}}
{{- end -}}

{{- define "jetmesh.image" -}}
{{- include "jetmesh.registry" . -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}{{ else }}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{ end -}}
{{- end -}}
{{- end -}}

{{/* The ServiceAccount that a component's pods run as: an existing one, or one that is a name and nothing else. */}}
{{- define "jetmesh.accountName" -}}
{{- .settings.serviceAccountName | default (include "jetmesh.name" .) -}}
{{- end -}}

{{- define "jetmesh.account" -}}
{{- if not .settings.serviceAccountName }}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{- include "jetmesh.metadata" (merge (dict "annotations" .settings.serviceAccountAnnotations) .) | nindent 2 }}
automountServiceAccountToken: false
{{- end }}
{{- end -}}
