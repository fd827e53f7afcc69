{{/* How values are put together: what every pod has, what its kind has, what it has itself. */}}

{{/* Two maps as one, in JSON: the second wins, key by key; null takes a key away. */}}
{{- define "jetmesh.merged" -}}
{{- $merged := deepCopy (default dict (index . 0)) -}}
{{- range $key, $value := default dict (index . 1) -}}
{{- if kindIs "invalid" $value -}}
{{- $_ := unset $merged $key -}}
{{- else if and (kindIs "map" $value) (kindIs "map" (get $merged $key)) -}}
{{- $_ := set $merged $key (include "jetmesh.merged" (list (get $merged $key) $value) | fromJson) -}}
{{- else if kindIs "map" $value -}}
{{- $_ := set $merged $key (include "jetmesh.merged" (list dict $value) | fromJson) -}}
{{- else -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{/*
The settings of a component, in JSON: (dict "root" $ "paths" (list "pods" "topology")), the last path wins. A variable of
the environment is replaced whole, for a value can't be merged with a reference; null stays, since it may also take away
what the chart sets. Lists of named things are one list.
*/}}
{{- define "jetmesh.settings" -}}
{{- $settings := dict -}}
{{- $env := dict -}}
{{- range $path := .paths -}}
{{- $level := $.root.Values -}}
{{- range splitList "." $path -}}
{{- $level = get $level . -}}
{{- end -}}
{{- range $name, $value := include "jetmesh.variables" (dict "path" $path "level" $level) | fromJson -}}
{{- $_ := set $env $name $value -}}
{{- end -}}
{{- $lists := dict -}}
{{- range $field, $key := dict "extraVolumes" "name" "extraVolumeMounts" "mountPath" "initContainers" "name" "extraContainers" "name" -}}
{{- $_ := set $lists $field (include "jetmesh.unique" (list $key (get $settings $field | default list) (get $level $field | default list)) | fromYamlArray) -}}
{{- end -}}
{{- $settings = include "jetmesh.merged" (list $settings (omit $level "env" "secretEnv")) | fromJson -}}
{{- $settings = merge $lists (omit $settings "extraVolumes" "extraVolumeMounts" "initContainers" "extraContainers") -}}
{{- end -}}
{{- toJson (set $settings "env" $env) -}}
{{- end -}}

{{/* `env` and `secretEnv` of one level as one map. */}}
{{- define "jetmesh.variables" -}}
{{- $env := deepCopy (default dict .level.env) -}}
{{- range $name, $from := .level.secretEnv -}}
{{- if and (hasKey $env $name) (not (kindIs "invalid" (get $env $name))) -}}
{{- fail (printf "%s: %s is in env and in secretEnv; say it once" $.path $name) -}}
{{- end -}}
{{- if $from -}}
{{- $from = dict "valueFrom" (dict "secretKeyRef" (dict "name" $from.secret "key" $from.key)) -}}
{{- end -}}
{{- $_ := set $env $name $from -}}
{{- end -}}
{{- toJson $env -}}
{{- end -}}

{{/* A list of maps without doubles, in YAML: (list "name" $own $more); what is told later replaces what has its key. */}}
{{- define "jetmesh.unique" -}}
{{- $key := index . 0 -}}
{{- $found := dict -}}
{{- $order := list -}}
{{- range concat (index . 1) (index . 2) -}}
{{- $order = append $order (get . $key) -}}
{{- $_ := set $found (get . $key) . -}}
{{- end -}}
{{- $items := list -}}
{{- range uniq $order -}}
{{- $items = append $items (get $found .) -}}
{{- end -}}
{{- if $items }}{{ toYaml $items }}{{ else }}[]{{ end -}}
{{- end -}}

{{/* A list of the values, its templates rendered: (list $ .settings.extraVolumes). */}}
{{- define "jetmesh.rendered" -}}
{{- tpl (toYaml (default list (index . 1))) (index . 0) -}}
{{- end -}}
