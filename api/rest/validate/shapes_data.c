/* How the real server shows a whole value in a cause: as its own types print, not as the published
 * JSON. Field names, order and zero values are data; a row is "Type", "Field[=json]:shape ...".
 * Shapes: s string, i number, b bool, * [] {} null when absent, T another row, +T fields of T here.
 * Source: the published Go types of Kubernetes 1.37 (asked by reflection). */
#include "shapes.h"

const struct rest_shape_row rest_shapes[] = {
    {"AWSElasticBlockStoreVolumeSource", "VolumeID:s FSType=fsType:s Partition:i ReadOnly:b"},
    {"Affinity",
     "NodeAffinity:*NodeAffinity PodAffinity:*PodAffinity PodAntiAffinity:*PodAntiAffinity"},
    {"AppArmorProfile", "Type:s LocalhostProfile:*"},
    {"AzureDiskVolumeSource",
     "DiskName:s DataDiskURI=diskURI:s CachingMode:* FSType=fsType:* ReadOnly:* Kind:*"},
    {"AzureFilePersistentVolumeSource", "SecretName:s ShareName:s ReadOnly:b SecretNamespace:*"},
    {"AzureFileVolumeSource", "SecretName:s ShareName:s ReadOnly:b"},
    {"CSIPersistentVolumeSource",
     "Driver:s VolumeHandle:s ReadOnly:b FSType=fsType:s VolumeAttributes:{} "
     "ControllerPublishSecretRef:*SecretReference NodeStageSecretRef:*SecretReference "
     "NodePublishSecretRef:*SecretReference ControllerExpandSecretRef:*SecretReference "
     "NodeExpandSecretRef:*SecretReference"},
    {"CSIVolumeSource", "Driver:s ReadOnly:* FSType=fsType:* VolumeAttributes:{} "
                        "NodePublishSecretRef:*LocalObjectReference"},
    {"Capabilities", "Add:[] Drop:[]"},
    {"CephFSPersistentVolumeSource",
     "Monitors:[] Path:s User:s SecretFile:s SecretRef:*SecretReference ReadOnly:b"},
    {"CephFSVolumeSource",
     "Monitors:[] Path:s User:s SecretFile:s SecretRef:*LocalObjectReference ReadOnly:b"},
    {"CinderPersistentVolumeSource",
     "VolumeID:s FSType=fsType:s ReadOnly:b SecretRef:*SecretReference"},
    {"CinderVolumeSource", "VolumeID:s FSType=fsType:s ReadOnly:b SecretRef:*LocalObjectReference"},
    {"ClusterTrustBundleProjection",
     "Name:* SignerName:* LabelSelector:*LabelSelector Optional:* Path:s User:*"},
    {"ConfigMapEnvSource", "+LocalObjectReference Optional:*"},
    {"ConfigMapKeySelector", "+LocalObjectReference Key:s Optional:*"},
    {"ConfigMapProjection", "+LocalObjectReference Items:[]KeyToPath Optional:*"},
    {"ConfigMapVolumeSource",
     "+LocalObjectReference Items:[]KeyToPath DefaultMode:* Optional:* DefaultUser:*"},
    {"Container", "Name:s Image:s Command:[] Args:[] WorkingDir:s Ports:[]ContainerPort "
                  "EnvFrom:[]EnvFromSource Env:[]EnvVar Resources:ResourceRequirements "
                  "ResizePolicy:[]ContainerResizePolicy RestartPolicy:* "
                  "RestartPolicyRules:[]ContainerRestartRule VolumeMounts:[]VolumeMount "
                  "VolumeDevices:[]VolumeDevice LivenessProbe:*Probe ReadinessProbe:*Probe "
                  "StartupProbe:*Probe Lifecycle:*Lifecycle TerminationMessagePath:s "
                  "TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*SecurityContext "
                  "Stdin:b StdinOnce:b TTY=tty:b"},
    {"ContainerPort", "Name:s HostPort:i ContainerPort:i Protocol:s HostIP:s"},
    {"ContainerResizePolicy", "ResourceName:s RestartPolicy:s"},
    {"ContainerRestartRule", "Action:s ExitCodes:*ContainerRestartRuleOnExitCodes"},
    {"ContainerRestartRuleOnExitCodes", "Operator:s Values:[]"},
    {"DaemonSetUpdateStrategy", "Type:s RollingUpdate:*RollingUpdateDaemonSet"},
    {"DeploymentStrategy", "Type:s RollingUpdate:*RollingUpdateDeployment"},
    {"DownwardAPIProjection", "Items:[]DownwardAPIVolumeFile"},
    {"DownwardAPIVolumeFile",
     "Path:s FieldRef:*ObjectFieldSelector ResourceFieldRef:*ResourceFieldSelector Mode:* "
     "User:*"},
    {"DownwardAPIVolumeSource", "Items:[]DownwardAPIVolumeFile DefaultMode:* DefaultUser:*"},
    {"EmptyDirVolumeSource", "Medium:s SizeLimit:*Quantity Mode:*"},
    {"EnvFromSource", "Prefix:s ConfigMapRef:*ConfigMapEnvSource SecretRef:*SecretEnvSource"},
    {"EnvVar", "Name:s Value:s ValueFrom:*EnvVarSource"},
    {"EnvVarSource", "FieldRef:*ObjectFieldSelector ResourceFieldRef:*ResourceFieldSelector "
                     "ConfigMapKeyRef:*ConfigMapKeySelector SecretKeyRef:*SecretKeySelector "
                     "FileKeyRef:*FileKeySelector"},
    {"EphemeralContainer", "+EphemeralContainerCommon TargetContainerName:s"},
    {"EphemeralContainerCommon",
     "Name:s Image:s Command:[] Args:[] WorkingDir:s Ports:[]ContainerPort "
     "EnvFrom:[]EnvFromSource Env:[]EnvVar Resources:ResourceRequirements "
     "ResizePolicy:[]ContainerResizePolicy RestartPolicy:* "
     "RestartPolicyRules:[]ContainerRestartRule VolumeMounts:[]VolumeMount "
     "VolumeDevices:[]VolumeDevice LivenessProbe:*Probe ReadinessProbe:*Probe "
     "StartupProbe:*Probe Lifecycle:*Lifecycle TerminationMessagePath:s "
     "TerminationMessagePolicy:s ImagePullPolicy:s SecurityContext:*SecurityContext "
     "Stdin:b StdinOnce:b TTY=tty:b"},
    {"EphemeralVolumeSource", "VolumeClaimTemplate:*PersistentVolumeClaimTemplate"},
    {"EvictionResponder", "Name:s Priority:*"},
    {"ExecAction", "Command:[]"},
    {"FCVolumeSource", "TargetWWNs:[] Lun:* FSType=fsType:s ReadOnly:b WWIDs=wwids:[]"},
    {"FileKeySelector", "VolumeName:s Path:s Key:s Optional:*"},
    {"FlexPersistentVolumeSource",
     "Driver:s FSType=fsType:s SecretRef:*SecretReference ReadOnly:b Options:{}"},
    {"FlexVolumeSource",
     "Driver:s FSType=fsType:s SecretRef:*LocalObjectReference ReadOnly:b Options:{}"},
    {"FlockerVolumeSource", "DatasetName:s DatasetUUID:s"},
    {"GCEPersistentDiskVolumeSource", "PDName=pdName:s FSType=fsType:s Partition:i ReadOnly:b"},
    {"GRPCAction", "Port:i Service:* Mode:*"},
    {"GitRepoVolumeSource", "Repository:s Revision:s Directory:s"},
    {"GlusterfsPersistentVolumeSource",
     "EndpointsName=endpoints:s Path:s ReadOnly:b EndpointsNamespace:*"},
    {"GlusterfsVolumeSource", "EndpointsName=endpoints:s Path:s ReadOnly:b"},
    {"HTTPGetAction",
     "Path:s Port:IntOrString Host:s Scheme:s HTTPHeaders=httpHeaders:[]HTTPHeader "
     "Protocol:*"},
    {"HTTPHeader", "Name:s Value:s"},
    {"HostAlias", "IP=ip:s Hostnames:[]"},
    {"HostPathVolumeSource", "Path:s Type:*"},
    {"ISCSIPersistentVolumeSource",
     "TargetPortal:s IQN=iqn:s Lun:i ISCSIInterface=iscsiInterface:s FSType=fsType:s "
     "ReadOnly:b Portals:[] DiscoveryCHAPAuth=chapAuthDiscovery:b "
     "SessionCHAPAuth=chapAuthSession:b SecretRef:*SecretReference InitiatorName:*"},
    {"ISCSIVolumeSource",
     "TargetPortal:s IQN=iqn:s Lun:i ISCSIInterface=iscsiInterface:s FSType=fsType:s "
     "ReadOnly:b Portals:[] DiscoveryCHAPAuth=chapAuthDiscovery:b "
     "SessionCHAPAuth=chapAuthSession:b SecretRef:*LocalObjectReference InitiatorName:*"},
    {"ImageVolumeSource", "Reference:s PullPolicy:s"},
    {"IngressBackend", "Service:*IngressServiceBackend Resource:*TypedLocalObjectReference"},
    {"IngressServiceBackend", "Name:s Port:ServiceBackendPort"},
    {"KeyToPath", "Key:s Path:s Mode:* User:*"},
    {"Lifecycle", "PostStart:*LifecycleHandler PreStop:*LifecycleHandler StopSignal:*"},
    {"LifecycleHandler",
     "Exec:*ExecAction HTTPGet=httpGet:*HTTPGetAction TCPSocket=tcpSocket:*TCPSocketAction "
     "Sleep:*SleepAction"},
    {"LocalObjectReference", "Name:s"},
    {"LocalVolumeSource", "Path:s FSType=fsType:*"},
    {"ModifyVolumeStatus", "TargetVolumeAttributesClassName:s Status:s"},
    {"NFSVolumeSource", "Server:s Path:s ReadOnly:b"},
    {"NodeAffinity", "RequiredDuringSchedulingIgnoredDuringExecution:*NodeSelector "
                     "PreferredDuringSchedulingIgnoredDuringExecution:[]PreferredSchedulingTerm"},
    {"NodeSelector", "NodeSelectorTerms:[]NodeSelectorTerm"},
    {"NodeSelectorRequirement", "Key:s Operator:s Values:[]"},
    {"NodeSelectorTerm",
     "MatchExpressions:[]NodeSelectorRequirement MatchFields:[]NodeSelectorRequirement"},
    {"ObjectFieldSelector", "APIVersion=apiVersion:s FieldPath:s"},
    {"ObjectReference",
     "Kind:s Namespace:s Name:s UID=uid:s APIVersion=apiVersion:s ResourceVersion:s "
     "FieldPath:s"},
    {"PersistentVolumeClaim", "+ObjectMeta=metadata Spec:PersistentVolumeClaimSpec "
                              "Status:PersistentVolumeClaimStatus"},
    {"PersistentVolumeClaimCondition",
     "Type:s Status:s LastProbeTime:Time LastTransitionTime:Time Reason:s Message:s"},
    {"PersistentVolumeClaimSpec",
     "AccessModes:[] Selector:*LabelSelector Resources:VolumeResourceRequirements "
     "VolumeName:s StorageClassName:* VolumeMode:* DataSource:*TypedLocalObjectReference "
     "DataSourceRef:*TypedObjectReference VolumeAttributesClassName:*"},
    {"PersistentVolumeClaimStatus",
     "Phase:s AccessModes:[] Capacity:{}Quantity "
     "Conditions:[]PersistentVolumeClaimCondition AllocatedResources:{}Quantity "
     "AllocatedResourceStatuses:{} CurrentVolumeAttributesClassName:* "
     "ModifyVolumeStatus:*ModifyVolumeStatus HealthStatus:*VolumeHealthStatus"},
    {"PersistentVolumeClaimTemplate", "+ObjectMeta=metadata Spec:PersistentVolumeClaimSpec"},
    {"PersistentVolumeClaimVolumeSource", "ClaimName:s ReadOnly:b"},
    {"PersistentVolumeSource",
     "GCEPersistentDisk=gcePersistentDisk:*GCEPersistentDiskVolumeSource "
     "AWSElasticBlockStore=awsElasticBlockStore:*AWSElasticBlockStoreVolumeSource "
     "HostPath:*HostPathVolumeSource Glusterfs:*GlusterfsPersistentVolumeSource "
     "NFS=nfs:*NFSVolumeSource RBD=rbd:*RBDPersistentVolumeSource "
     "ISCSI=iscsi:*ISCSIPersistentVolumeSource Cinder:*CinderPersistentVolumeSource "
     "CephFS=cephfs:*CephFSPersistentVolumeSource FC=fc:*FCVolumeSource "
     "Flocker:*FlockerVolumeSource FlexVolume:*FlexPersistentVolumeSource "
     "AzureFile:*AzureFilePersistentVolumeSource "
     "VsphereVolume:*VsphereVirtualDiskVolumeSource Quobyte:*QuobyteVolumeSource "
     "AzureDisk:*AzureDiskVolumeSource "
     "PhotonPersistentDisk:*PhotonPersistentDiskVolumeSource "
     "PortworxVolume:*PortworxVolumeSource ScaleIO:*ScaleIOPersistentVolumeSource "
     "Local:*LocalVolumeSource StorageOS=storageos:*StorageOSPersistentVolumeSource "
     "CSI=csi:*CSIPersistentVolumeSource"},
    {"PhotonPersistentDiskVolumeSource", "PdID:s FSType=fsType:s"},
    {"PodAffinity", "RequiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm "
                    "PreferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm"},
    {"PodAffinityTerm", "LabelSelector:*LabelSelector Namespaces:[] TopologyKey:s "
                        "NamespaceSelector:*LabelSelector MatchLabelKeys:[] MismatchLabelKeys:[]"},
    {"PodAntiAffinity",
     "RequiredDuringSchedulingIgnoredDuringExecution:[]PodAffinityTerm "
     "PreferredDuringSchedulingIgnoredDuringExecution:[]WeightedPodAffinityTerm"},
    {"PodCertificateProjection",
     "SignerName:s KeyType:s MaxExpirationSeconds:* CredentialBundlePath:s KeyPath:s "
     "CertificateChainPath:s UserAnnotations:{} User:*"},
    {"PodDNSConfig", "Nameservers:[] Searches:[] Options:[]PodDNSConfigOption"},
    {"PodDNSConfigOption", "Name:s Value:*"},
    {"PodDisruptionBudgetSpec",
     "MinAvailable:*IntOrString Selector:*LabelSelector MaxUnavailable:*IntOrString "
     "UnhealthyPodEvictionPolicy:*"},
    {"PodFailurePolicy", "Rules:[]PodFailurePolicyRule"},
    {"PodFailurePolicyOnExitCodesRequirement", "ContainerName:* Operator:s Values:[]"},
    {"PodFailurePolicyOnPodConditionsPattern", "Type:s Status:s"},
    {"PodFailurePolicyRule", "Action:s OnExitCodes:*PodFailurePolicyOnExitCodesRequirement "
                             "OnPodConditions:[]PodFailurePolicyOnPodConditionsPattern"},
    {"PodIP", "IP=ip:s"},
    {"PodOS", "Name:s"},
    {"PodReadinessGate", "ConditionType:s"},
    {"PodResourceClaim", "Name:s ResourceClaimName:* ResourceClaimTemplateName:*"},
    {"PodSchedulingGate", "Name:s"},
    {"PodSchedulingGroup", "PodGroupName:*"},
    {"PodSecurityContext",
     "SELinuxOptions=seLinuxOptions:*SELinuxOptions "
     "WindowsOptions:*WindowsSecurityContextOptions RunAsUser:* RunAsGroup:* "
     "RunAsNonRoot:* SupplementalGroups:[] SupplementalGroupsPolicy:* FSGroup=fsGroup:* "
     "Sysctls:[]Sysctl FSGroupChangePolicy=fsGroupChangePolicy:* "
     "SeccompProfile:*SeccompProfile AppArmorProfile:*AppArmorProfile "
     "SELinuxChangePolicy=seLinuxChangePolicy:*"},
    {"PodSpec",
     "Volumes:[]Volume InitContainers:[]Container Containers:[]Container "
     "EphemeralContainers:[]EphemeralContainer RestartPolicy:s "
     "TerminationGracePeriodSeconds:* ActiveDeadlineSeconds:* DNSPolicy=dnsPolicy:s "
     "NodeSelector:{} ServiceAccountName:s DeprecatedServiceAccount=serviceAccount:s "
     "AutomountServiceAccountToken:* NodeName:s HostNetwork:b HostPID:b HostIPC:b "
     "ShareProcessNamespace:* SecurityContext:*PodSecurityContext "
     "ImagePullSecrets:[]LocalObjectReference Hostname:s Subdomain:s Affinity:*Affinity "
     "SchedulerName:s Tolerations:[]Toleration HostAliases:[]HostAlias PriorityClassName:s "
     "Priority:* DNSConfig=dnsConfig:*PodDNSConfig ReadinessGates:[]PodReadinessGate "
     "RuntimeClassName:* EnableServiceLinks:* PreemptionPolicy:* Overhead:{}Quantity "
     "TopologySpreadConstraints:[]TopologySpreadConstraint SetHostnameAsFQDN:* "
     "OS=os:*PodOS HostUsers:* SchedulingGates:[]PodSchedulingGate "
     "ResourceClaims:[]PodResourceClaim Resources:*ResourceRequirements HostnameOverride:* "
     "SchedulingGroup:*PodSchedulingGroup EvictionResponders:[]EvictionResponder"},
    {"PodTemplateSpec", "+ObjectMeta=metadata Spec:PodSpec"},
    {"PortworxVolumeSource", "VolumeID:s FSType=fsType:s ReadOnly:b"},
    {"PreferredSchedulingTerm", "Weight:i Preference:NodeSelectorTerm"},
    {"Probe", "+ProbeHandler InitialDelaySeconds:i TimeoutSeconds:i PeriodSeconds:i "
              "SuccessThreshold:i FailureThreshold:i TerminationGracePeriodSeconds:*"},
    {"ProbeHandler",
     "Exec:*ExecAction HTTPGet=httpGet:*HTTPGetAction TCPSocket=tcpSocket:*TCPSocketAction "
     "GRPC=grpc:*GRPCAction"},
    {"ProjectedVolumeSource", "Sources:[]VolumeProjection DefaultMode:* DefaultUser:*"},
    {"QuobyteVolumeSource", "Registry:s Volume:s ReadOnly:b User:s Group:s Tenant:s"},
    {"RBDPersistentVolumeSource",
     "CephMonitors=monitors:[] RBDImage=image:s FSType=fsType:s RBDPool=pool:s "
     "RadosUser=user:s Keyring:s SecretRef:*SecretReference ReadOnly:b"},
    {"RBDVolumeSource", "CephMonitors=monitors:[] RBDImage=image:s FSType=fsType:s RBDPool=pool:s "
                        "RadosUser=user:s Keyring:s SecretRef:*LocalObjectReference ReadOnly:b"},
    {"ResourceClaim", "Name:s Request:s"},
    {"ResourceFieldSelector", "ContainerName:s Resource:s Divisor:Quantity"},
    {"ResourceRequirements", "Limits:{}Quantity Requests:{}Quantity Claims:[]ResourceClaim"},
    {"RollingUpdateDaemonSet", "MaxUnavailable:IntOrString MaxSurge:IntOrString"},
    {"RollingUpdateDeployment", "MaxUnavailable:IntOrString MaxSurge:IntOrString"},
    {"RollingUpdateStatefulSetStrategy", "Partition:i MaxUnavailable:*IntOrString"},
    {"SELinuxOptions", "User:s Role:s Type:s Level:s"},
    {"ScaleIOPersistentVolumeSource",
     "Gateway:s System:s SecretRef:*SecretReference SSLEnabled=sslEnabled:b "
     "ProtectionDomain:s StoragePool:s StorageMode:s VolumeName:s FSType=fsType:s "
     "ReadOnly:b"},
    {"ScaleIOVolumeSource",
     "Gateway:s System:s SecretRef:*LocalObjectReference SSLEnabled=sslEnabled:b "
     "ProtectionDomain:s StoragePool:s StorageMode:s VolumeName:s FSType=fsType:s "
     "ReadOnly:b"},
    {"SeccompProfile", "Type:s LocalhostProfile:*"},
    {"SecretEnvSource", "+LocalObjectReference Optional:*"},
    {"SecretKeySelector", "+LocalObjectReference Key:s Optional:*"},
    {"SecretProjection", "+LocalObjectReference Items:[]KeyToPath Optional:*"},
    {"SecretReference", "Name:s Namespace:s"},
    {"SecretVolumeSource", "SecretName:s Items:[]KeyToPath DefaultMode:* Optional:* DefaultUser:*"},
    {"SecurityContext",
     "Capabilities:*Capabilities Privileged:* "
     "SELinuxOptions=seLinuxOptions:*SELinuxOptions "
     "WindowsOptions:*WindowsSecurityContextOptions RunAsUser:* RunAsGroup:* "
     "RunAsNonRoot:* ReadOnlyRootFilesystem:* AllowPrivilegeEscalation:* ProcMount:* "
     "SeccompProfile:*SeccompProfile AppArmorProfile:*AppArmorProfile"},
    {"ServiceAccountTokenProjection", "Audience:s ExpirationSeconds:* Path:s User:*"},
    {"ServiceBackendPort", "Name:s Number:i"},
    {"ServicePort", "Name:s Protocol:s AppProtocol:* Port:i TargetPort:IntOrString NodePort:i"},
    {"SleepAction", "Seconds:i"},
    {"StatefulSetUpdateStrategy", "Type:s RollingUpdate:*RollingUpdateStatefulSetStrategy"},
    {"StorageOSPersistentVolumeSource",
     "VolumeName:s VolumeNamespace:s FSType=fsType:s ReadOnly:b SecretRef:*ObjectReference"},
    {"StorageOSVolumeSource", "VolumeName:s VolumeNamespace:s FSType=fsType:s ReadOnly:b "
                              "SecretRef:*LocalObjectReference"},
    {"SuccessPolicy", "Rules:[]SuccessPolicyRule"},
    {"SuccessPolicyRule", "SucceededIndexes:* SucceededCount:*"},
    {"Sysctl", "Name:s Value:s"},
    {"TCPSocketAction", "Port:IntOrString Host:s"},
    {"Toleration", "Key:s Operator:s Value:s Effect:s TolerationSeconds:*"},
    {"TopologySpreadConstraint",
     "MaxSkew:i TopologyKey:s WhenUnsatisfiable:s LabelSelector:*LabelSelector "
     "MinDomains:* NodeAffinityPolicy:* NodeTaintsPolicy:* MatchLabelKeys:[]"},
    {"TypedLocalObjectReference", "APIGroup=apiGroup:* Kind:s Name:s"},
    {"TypedObjectReference", "APIGroup=apiGroup:* Kind:s Name:s Namespace:*"},
    {"Volume", "Name:s +VolumeSource"},
    {"VolumeDevice", "Name:s DevicePath:s"},
    {"VolumeHealthCondition", "Status:s Reason:s Message:s"},
    {"VolumeHealthStatus", "HealthConditions:[]VolumeHealthCondition LastTransitionTime:Time"},
    {"VolumeMount",
     "Name:s ReadOnly:b RecursiveReadOnly:* MountPath:s SubPath:s MountPropagation:* "
     "SubPathExpr:s BindMountOptions:[]"},
    {"VolumeNodeAffinity", "Required:*NodeSelector"},
    {"VolumeProjection",
     "Secret:*SecretProjection DownwardAPI:*DownwardAPIProjection "
     "ConfigMap:*ConfigMapProjection ServiceAccountToken:*ServiceAccountTokenProjection "
     "ClusterTrustBundle:*ClusterTrustBundleProjection "
     "PodCertificate:*PodCertificateProjection"},
    {"VolumeResourceRequirements", "Limits:{}Quantity Requests:{}Quantity"},
    {"VolumeSource",
     "HostPath:*HostPathVolumeSource EmptyDir:*EmptyDirVolumeSource "
     "GCEPersistentDisk=gcePersistentDisk:*GCEPersistentDiskVolumeSource "
     "AWSElasticBlockStore=awsElasticBlockStore:*AWSElasticBlockStoreVolumeSource "
     "GitRepo:*GitRepoVolumeSource Secret:*SecretVolumeSource NFS=nfs:*NFSVolumeSource "
     "ISCSI=iscsi:*ISCSIVolumeSource Glusterfs:*GlusterfsVolumeSource "
     "PersistentVolumeClaim:*PersistentVolumeClaimVolumeSource RBD=rbd:*RBDVolumeSource "
     "FlexVolume:*FlexVolumeSource Cinder:*CinderVolumeSource "
     "CephFS=cephfs:*CephFSVolumeSource Flocker:*FlockerVolumeSource "
     "DownwardAPI:*DownwardAPIVolumeSource FC=fc:*FCVolumeSource "
     "AzureFile:*AzureFileVolumeSource ConfigMap:*ConfigMapVolumeSource "
     "VsphereVolume:*VsphereVirtualDiskVolumeSource Quobyte:*QuobyteVolumeSource "
     "AzureDisk:*AzureDiskVolumeSource "
     "PhotonPersistentDisk:*PhotonPersistentDiskVolumeSource "
     "Projected:*ProjectedVolumeSource PortworxVolume:*PortworxVolumeSource "
     "ScaleIO:*ScaleIOVolumeSource StorageOS=storageos:*StorageOSVolumeSource "
     "CSI=csi:*CSIVolumeSource Ephemeral:*EphemeralVolumeSource Image:*ImageVolumeSource"},
    {"VsphereVirtualDiskVolumeSource",
     "VolumePath:s FSType=fsType:s StoragePolicyName:s StoragePolicyID:s"},
    {"WeightedPodAffinityTerm", "Weight:i PodAffinityTerm:PodAffinityTerm"},
    {"WindowsSecurityContextOptions",
     "GMSACredentialSpecName=gmsaCredentialSpecName:* "
     "GMSACredentialSpec=gmsaCredentialSpec:* RunAsUserName:* HostProcess:*"},
};
const size_t rest_shape_count = NEAP_ARRAY_LEN(rest_shapes);
