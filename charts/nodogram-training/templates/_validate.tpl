{{/* What a schema cannot say in words: values that exclude or need each other. */}}
{{- define "nodogram-training.validate" -}}
{{- $faults := list -}}
{{- if gt (len .Release.Name) 34 }}{{ $faults = append $faults (printf "release name %s has %d characters; at most 34 are allowed, so that no name is cut" .Release.Name (len .Release.Name)) }}{{ end -}}
{{- if eq .Values.image.tag "latest" }}{{ $faults = append $faults "image.tag is latest, which says nothing; name a version" }}{{ end -}}
{{- $mounted := false }}{{ range .Values.extraVolumeMounts }}{{ if eq .mountPath "/cohort" }}{{ $mounted = true }}{{ end }}{{ end -}}
{{- if not (or .Values.cohort.existingClaim $mounted) }}{{ $faults = append $faults "cohort.existingClaim is required, or a mount of /cohort in extraVolumeMounts" }}{{ end -}}
{{- if and .Values.cohort.existingClaim $mounted }}{{ $faults = append $faults "cohort.existingClaim and a mount of /cohort in extraVolumeMounts exclude each other" }}{{ end -}}
{{- if and .Values.recipe.toml .Values.recipe.existingConfigMap }}{{ $faults = append $faults "recipe.toml and recipe.existingConfigMap exclude each other" }}{{ end -}}
{{- range $name, $resources := dict "resources" .Values.resources "extraction.mergeResources" .Values.extraction.mergeResources }}
{{- $requests := $resources.requests | default dict }}
{{- if not (and (hasKey $requests "cpu") (hasKey $requests "memory")) }}{{ $faults = append $faults (printf "%s.requests of cpu and memory are required" $name) }}{{ end -}}
{{- end }}
{{- if and (has .Values.mode (list "template" "cronjob")) .Values.run }}{{ $faults = append $faults (printf "run names the run of mode job or extraction; in mode %s every Job has a name of its own" .Values.mode) }}{{ end -}}
{{- if and .Values.kueue.priorityClass (not .Values.kueue.queueName) }}{{ $faults = append $faults "kueue.priorityClass needs kueue.queueName" }}{{ end -}}
{{- if and .Values.promotion.enabled (not .Values.promotion.servingRelease) }}{{ $faults = append $faults "promotion needs servingRelease" }}{{ end -}}
{{- if and .Values.gpu.resourceClaims (semverCompare "<1.34.0-0" .Capabilities.KubeVersion.Version) }}{{ $faults = append $faults (printf "gpu.resourceClaims need Kubernetes 1.34; this is %s" .Capabilities.KubeVersion.Version) }}{{ end -}}
{{- if $faults }}{{ fail (printf "\n%s" (join "\n" $faults)) }}{{ end -}}
{{- end }}
