{{/* Names: RELEASE-nodogram-training and what is appended. */}}
{{- define "nodogram-training.fullname" -}}
{{ printf "%s-%s" .Release.Name .Chart.Name }}
{{- end }}

{{/* Labels of an object; call with (dict "root" $ "component" "train"). */}}
{{- define "nodogram-training.labels" -}}
{{- with .root -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: {{ $.component }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nodogram-training.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "nodogram-training.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end }}

{{/* registry/repository:tag@digest */}}
{{- define "nodogram-training.image" -}}
{{- $registry := .Values.image.registry | default .Values.global.imageRegistry -}}
{{- $tag := .Values.image.tag | default (printf "%s%s" .Chart.AppVersion (ternary "-cuda" "" .Values.gpu.enabled)) -}}
{{- with $registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ $tag }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "nodogram-training.claim" -}}
{{- .Values.output.existingClaim | default (printf "%s-runs" (include "nodogram-training.fullname" .)) -}}
{{- end }}

{{/* A recipe of the values has a name of its own for every content: a run under way keeps its recipe. */}}
{{- define "nodogram-training.recipeConfigMap" -}}
{{- if .Values.recipe.toml }}{{ include "nodogram-training.fullname" . }}-recipe-{{ .Values.recipe.toml | sha256sum | trunc 8 }}{{ else }}{{ .Values.recipe.existingConfigMap }}{{ end }}
{{- end }}

{{- define "nodogram-training.recipe" -}}
{{- ternary "/recipe/recipe.toml" .Values.recipe.name (ne (include "nodogram-training.recipeConfigMap" .) "") -}}
{{- end }}

{{/* Processes: as many as CPUs, at least one; a pod without CPU pinning sees every core of its node. */}}
{{- define "nodogram-training.jobs" -}}
{{- if .Values.jobs }}{{ .Values.jobs }}{{ else -}}
{{- $cpu := get (merge (dict) (.Values.resources.limits | default dict) (.Values.resources.requests | default dict)) "cpu" | default "1" | toString -}}
{{- if hasSuffix "m" $cpu }}{{ max 1 (div (trimSuffix "m" $cpu | int) 1000) }}{{ else }}{{ max 1 (float64 $cpu | floor | int) }}{{ end -}}
{{- end }}
{{- end }}

{{/* Name of this run: as given, else a digest of what is run. */}}
{{- define "nodogram-training.run" -}}
{{- $component := ternary "extract" "train" (eq .Values.mode "extraction") -}}
{{- .Values.run | default (include "nodogram-training.jobSpec" (dict "root" . "component" $component "folder" "") | sha256sum | trunc 8) -}}
{{- end }}

{{/*
Name of a Job of this run; call with (dict "root" $ "component" "train"). The host names of its pods have the name, an index
and five letters, and at most 63 characters.
*/}}
{{- define "nodogram-training.jobName" -}}
{{- $kind := ternary "" (printf "%s-" .component) (eq .component "train") -}}
{{- $name := printf "%s-%s%s" (include "nodogram-training.fullname" .root) $kind (include "nodogram-training.run" .root) -}}
{{- if gt (len $name) 57 }}{{ fail (printf "\nthe name %s has %d characters; at most 57 are allowed: shorten the name of the release or of the run" $name (len $name)) }}{{ end -}}
{{ $name }}
{{- end }}

{{/* Labels and suspension by which Kueue takes a Job; one it has started stays started through an upgrade. */}}
{{- define "nodogram-training.kueueLabels" -}}
{{- with .Values.kueue }}
{{- with .queueName }}
kueue.x-k8s.io/queue-name: {{ . }}
{{- end }}
{{- with .priorityClass }}
kueue.x-k8s.io/priority-class: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{- define "nodogram-training.suspend" -}}
{{- $live := lookup "batch/v1" "Job" .root.Release.Namespace .name | default dict -}}
{{- $spec := get $live "spec" | default dict -}}
{{- if hasKey $spec "suspend" }}{{ $spec.suspend }}{{ else }}true{{ end -}}
{{- end }}
