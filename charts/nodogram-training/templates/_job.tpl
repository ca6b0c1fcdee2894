{{/*
What is run, in one place for Job, CronJob, shards and merge. Call with (dict "root" $ "component" "train" "folder" FOLDER);
components are train, extract and merge. A training finds its folder by the name of its Job, shards and merge are told.
*/}}
{{- define "nodogram-training.jobSpec" -}}
{{- $component := .component }}
{{- $folder := .folder }}
{{- with .root -}}
{{- if eq $component "extract" -}}
completionMode: Indexed
completions: {{ .Values.extraction.shards }}
parallelism: {{ .Values.extraction.parallelism }}
backoffLimitPerIndex: {{ .Values.extraction.backoffLimitPerIndex }}
maxFailedIndexes: {{ .Values.extraction.maxFailedIndexes }}
{{- else -}}
backoffLimit: {{ .Values.job.backoffLimit }}
{{- end }}
activeDeadlineSeconds: {{ include "nodogram-training.deadline" (dict "root" . "component" $component) }}
{{- if not (kindIs "invalid" .Values.job.ttlAfterFinishedS) }}
ttlSecondsAfterFinished: {{ .Values.job.ttlAfterFinishedS }}
{{- end }}
# A new pod only when the old one has ended: two never write to one run.
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    - action: Ignore
      onPodConditions: [{type: DisruptionTarget, status: "True"}]
    # 1: the data or a check says no, 2: usage. Both would end the same way again.
    - action: {{ ternary "FailIndex" "FailJob" (eq $component "extract") }}
      onExitCodes: {containerName: {{ $component }}, operator: In, values: [1, 2]}
template:
  metadata:
    labels:
      {{- include "nodogram-training.labels" (dict "root" . "component" $component) | nindent 6 }}
      {{- with .Values.podLabels }}{{ toYaml . | nindent 6 }}{{ end }}
    annotations:
      kubectl.kubernetes.io/default-container: {{ $component }}
      {{- if eq $component "merge" }}
      checksum/wait: {{ .Files.Get "files/wait_for_shards.py" | sha256sum }}
      {{- end }}
      {{- with .Values.podAnnotations }}{{ toYaml . | nindent 6 }}{{ end }}
  spec: {{- include "nodogram-training.podSpec" (dict "root" . "component" $component "folder" $folder) | nindent 4 }}
{{- end }}
{{- end }}

{{/* The merge gets the time of the shards and an hour of its own. */}}
{{- define "nodogram-training.deadline" -}}
{{- with .root.Values.job -}}
{{ ternary (add (int64 .activeDeadlineS) 3600) (int64 .activeDeadlineS) (eq $.component "merge") }}
{{- end }}
{{- end }}

{{- define "nodogram-training.arguments" -}}
{{- with .root -}}
{{- if eq $.component "merge" -}}
[extract, --merge, --cohort, /cohort, --out, /features, --shard-count, {{ .Values.extraction.shards | int64 | toString | quote }}]
{{- else -}}
{{- if eq $.component "train" -}}
[train, --cohort, /cohort, --recipe, {{ include "nodogram-training.recipe" . }}, --out, /run, --resume
{{- else -}}
[extract, --cohort, /cohort, --settings, {{ include "nodogram-training.recipe" . }}, --out, /features
{{- end -}}
, --jobs, {{ include "nodogram-training.jobs" . | quote }}{{ if .Values.strict }}, --strict{{ end }}{{ range .Values.extraArgs }}, {{ . | quote }}{{ end }}]
{{- end }}
{{- end }}
{{- end }}

{{- define "nodogram-training.podSpec" -}}
{{- $component := .component }}
{{- $folder := .folder }}
{{- with .root -}}
restartPolicy: Never
serviceAccountName: {{ include "nodogram-training.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .Values.job.terminationGraceS }}
{{- with concat .Values.global.imagePullSecrets .Values.image.pullSecrets | uniq }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext: {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- range . }}
  {{- $labels := dict "app.kubernetes.io/name" $.root.Chart.Name "app.kubernetes.io/instance" $.root.Release.Name "app.kubernetes.io/component" $component }}
  - {{- toYaml (merge (dict) . (dict "labelSelector" (dict "matchLabels" $labels))) | nindent 4 }}
  {{- end }}
{{- end }}
{{- if and (eq $component "train") .Values.gpu.enabled .Values.gpu.resourceClaims }}
resourceClaims: {{- toYaml .Values.gpu.resourceClaims | nindent 2 }}
{{- end }}
{{- if or (eq $component "merge") .Values.extraInitContainers }}
initContainers:
  {{- with .Values.extraInitContainers }}{{ toYaml . | nindent 2 }}{{ end }}
  {{- if eq $component "merge" }}
  - name: wait
    image: {{ include "nodogram-training.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    command: [python3, /wait/wait_for_shards.py, /features, --shards, {{ .Values.extraction.shards | int64 | toString | quote }}, --timeout-s, {{ .Values.job.activeDeadlineS | int64 | toString | quote }}]
    resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 64Mi}}
    securityContext: {{- toYaml .Values.securityContext | nindent 6 }}
    volumeMounts:
      - {name: wait, mountPath: /wait, readOnly: true}
      {{- include "nodogram-training.outputMount" (dict "root" . "component" $component "folder" $folder) | nindent 6 }}
  {{- end }}
{{- end }}
containers:
  - name: {{ $component }}
    image: {{ include "nodogram-training.image" . }}
    imagePullPolicy: {{ .Values.image.pullPolicy }}
    args: {{ include "nodogram-training.arguments" (dict "root" . "component" $component) }}
    # The reason of a refusal is at the end of the log.
    terminationMessagePolicy: FallbackToLogsOnError
    env:
      - {name: HOME, value: /tmp}
      {{- if eq $component "extract" }}
      - {name: NODOGRAM_SHARDS, value: {{ .Values.extraction.shards | int64 | toString | quote }}}
      {{- end }}
      {{- if eq $component "train" }}
      - {name: JOB_NAME, valueFrom: {fieldRef: {fieldPath: "metadata.labels['batch.kubernetes.io/job-name']"}}}
      {{- end }}
      {{- with .Values.extraEnv }}{{ toYaml . | nindent 6 }}{{ end }}
    {{- with .Values.extraEnvFrom }}
    envFrom: {{- toYaml . | nindent 6 }}
    {{- end }}
    resources: {{- include "nodogram-training.resources" (dict "root" . "component" $component) | nindent 6 }}
    securityContext: {{- toYaml .Values.securityContext | nindent 6 }}
    volumeMounts:
      {{- include "nodogram-training.outputMount" (dict "root" . "component" $component "folder" $folder) | nindent 6 }}
      - {name: tmp, mountPath: /tmp}
      - {name: shm, mountPath: /dev/shm}
      {{- if .Values.cohort.existingClaim }}
      - {name: cohort, mountPath: /cohort, readOnly: {{ .Values.cohort.readOnly }}{{ with .Values.cohort.subPath }}, subPath: {{ . }}{{ end }}}
      {{- end }}
      {{- if include "nodogram-training.recipeConfigMap" . }}
      - {name: recipe, mountPath: /recipe, readOnly: true}
      {{- end }}
      {{- with .Values.extraVolumeMounts }}{{ toYaml . | nindent 6 }}{{ end }}
  {{- with .Values.extraContainers }}{{ toYaml . | nindent 2 }}{{ end }}
volumes:
  - {name: output, persistentVolumeClaim: {claimName: {{ include "nodogram-training.claim" . }}}}
  - {name: tmp, emptyDir: {sizeLimit: {{ .Values.tmp.sizeLimit }}}}
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: {{ .Values.shm.sizeLimit }}}}
  {{- with .Values.cohort.existingClaim }}
  - {name: cohort, persistentVolumeClaim: {claimName: {{ . }}, readOnly: {{ $.root.Values.cohort.readOnly }}}}
  {{- end }}
  {{- with include "nodogram-training.recipeConfigMap" . }}
  - {name: recipe, configMap: {name: {{ . }}}}
  {{- end }}
  {{- if eq $component "merge" }}
  - {name: wait, configMap: {name: {{ include "nodogram-training.fullname" . }}-wait}}
  {{- end }}
  {{- with .Values.extraVolumes }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}

{{/* /run or /features: the folder of this run on the claim. */}}
{{- define "nodogram-training.outputMount" -}}
{{- if eq .component "train" -}}
- {name: output, mountPath: /run, subPathExpr: $(JOB_NAME)}
{{- else -}}
- {name: output, mountPath: /features, subPath: {{ .folder | quote }}}
{{- end }}
{{- end }}

{{- define "nodogram-training.resources" -}}
{{- with .root -}}
{{- $given := ternary .Values.extraction.mergeResources .Values.resources (eq $.component "merge") -}}
{{- $limits := merge (dict) ($given.limits | default dict) (pick ($given.requests | default dict) "memory") -}}
{{- $resources := merge (dict "limits" $limits) $given -}}
{{- if and .Values.gpu.enabled (eq $.component "train") -}}
{{- if .Values.gpu.resourceClaims -}}
{{- $claims := list }}{{ range .Values.gpu.resourceClaims }}{{ $claims = append $claims (dict "name" .name) }}{{ end -}}
{{- $_ := set $resources "claims" (concat (get $resources "claims" | default list) $claims) -}}
{{- else -}}
{{- $_ := set $limits .Values.gpu.resourceName (int64 .Values.gpu.count) -}}
{{- $_ := set $resources "limits" $limits -}}
{{- end -}}
{{- end -}}
{{ toYaml $resources }}
{{- end }}
{{- end }}
