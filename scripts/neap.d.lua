---@meta
-- The API of neap's scripts, for editors that speak LuaLS ("workspace.library": this file's folder). Nothing here runs.
-- scripts/README.md is the guide.

---What an object is addressed by: "v1/pods", "apps/v1/deployments".
---@alias Resource string

---An object as the API shows it, frozen: a view into the snapshot that dies with the sync or request. Fields that are
---absent are nil. #, pairs, ipairs and == work; neap.edit makes a plain table of it.
---@class View
---@field apiVersion string
---@field kind string
---@field metadata Metadata
---@field spec any
---@field status any
---@field [string] any

---@class Metadata
---@field name string
---@field namespace? string
---@field uid string
---@field resourceVersion string
---@field generation? integer
---@field creationTimestamp string
---@field deletionTimestamp? string
---@field labels? table<string, string>
---@field annotations? table<string, string>
---@field ownerReferences? table[]
---@field finalizers? string[]
---@field generateName? string

---Why the API refused.
---@class ApiError
---@field code integer HTTP status
---@field reason string "NotFound", "AlreadyExists", "Conflict", "Forbidden", "Invalid", ...
---@field message string

---@class LabelSelector
---@field matchLabels? table<string, string>
---@field matchExpressions? { key: string, operator: "In"|"NotIn"|"Exists"|"DoesNotExist", values: string[]? }[]

---@class neap
---@field null lightuserdata JSON's null: in a patch it removes a key
---@field ca string the cluster's certificate, PEM
neap = {}

---@class Controller
---@field name string
---@field for_ Resource reconcile runs with the namespace and name of objects of this kind
---@field owns? Resource[] a change of an object runs its controlling owner
---@field watches? { [1]: Resource|"*", [2]: fun(object: View, event: "ADDED"|"MODIFIED"|"DELETED"): string|string[]|nil }[] the function tells keys "namespace/name" to run ("/name" without a namespace)
---@field concurrency? integer syncs of different objects at a time; 8
---@field reconcile? fun(namespace: string, name: string): number? what is returned is the seconds until the next call
---@field sync? fun(parent: View, observed: table<Resource, View[]>): { children: table[]?, status: table?, resync: number? } instead of reconcile

---Declares a controller; the file returns it.
---@param controller Controller
---@return Controller
function neap.controller(controller) end

---@class AdmissionRequest
---@field operation "CREATE"|"UPDATE"|"DELETE"
---@field resource Resource
---@field kind string
---@field namespace? string
---@field name string
---@field user { name: string, uid: string?, groups: string[] }
---@field dry_run boolean
---@field object? View the new object: mutate may change it in place; nil for DELETE
---@field old? View the object as it is stored; nil for CREATE

---@class AdmissionRule
---@field name string
---@field resources string[] "pods", "apps/deployments", "apps/*", "*"; a version may stand between: "apps/v1/deployments"
---@field operations? ("CREATE"|"UPDATE"|"DELETE"|"*")[] default CREATE and UPDATE
---@field namespaces? string[] only these; a Namespace is in itself
---@field exclude_namespaces? string[]
---@field budget_ms? integer processor time of one run, 1 to 100; 5
---@field mutate? fun(request: AdmissionRequest): string?|boolean?, string?
---@field validate? fun(request: AdmissionRequest): string?|boolean?, string? a text, or false and a text, denies

---Declares an admission rule; the file returns it.
---@param rule AdmissionRule
---@return AdmissionRule
function neap.admission(rule) end

---Admission: refuses the request (403). Does not return; pcall does not take it back.
---@param message? string
---@param field? string "metadata.labels.team"
function neap.deny(message, field) end

---Admission: a Warning that kubectl shows.
---@param text string
function neap.warn(text) end

-- ---- reading: the snapshot of the sync or request, never a network call ----

---@param resource Resource
---@param namespace? string
---@param name string
---@return View?
function neap.get(resource, namespace, name) end

---@param resource Resource
---@param options? { namespace: string?, selector: LabelSelector?, unlike: LabelSelector?, fields: string?, deleting: boolean?, owner: string?, controller: string|false?, field: string?, value: string? } unlike: what this selector does not match; fields: a field selector, as "status.phase!=Failed"; deleting: with or without a deletionTimestamp; owner, controller: a uid, controller false: nobody; field: an indexed one, as "spec.nodeName"
---@return View[]
function neap.list(resource, options) end

---Objects of any kind that name this uid as an owner.
---@param uid string
---@return View[]
function neap.owned(uid) end

---@param selector LabelSelector?
---@param labels table<string, string>?
---@return boolean
function neap.matches(selector, labels) end

---Lets others run; then this goes on, with all of its time again. For a reconcile that loops over many objects
---(workload.each does it): a turn that takes more than 200 ms of the processor is interrupted with a warning, and
---the tenth time an error.
function neap.turn() end

---Every kind that can be listed and deleted.
---@return { kind: Resource, namespaced: boolean }[]
function neap.kinds() end

---@param apiVersion string
---@param kind string
---@return Resource?
function neap.resource(apiVersion, kind) end

-- ---- writing (controllers only): waits for the answer; other objects are reconciled meanwhile ----

---@param resource Resource
---@param namespace? string
---@param object table
---@return View?, ApiError?
function neap.create(resource, namespace, object) end

---Several at once, at most 1000: faster than one after the other. What comes back is in the order of <objects>.
---@param resource Resource
---@param namespace? string
---@param objects table[]
---@return { object: View?, error: ApiError? }[]
function neap.create_all(resource, namespace, objects) end

---@param resource Resource
---@param namespace? string
---@param name string
---@param object table
---@param subresource? "status"|"finalize"|"scale"
---@return View?, ApiError?
function neap.update(resource, namespace, name, object, subresource) end

---@param resource Resource
---@param namespace? string
---@param name string
---@param patch table
---@param subresource? "status"|"scale"
---@param type? "merge"|"strategic"|"json"
---@return View?, ApiError?
function neap.patch(resource, namespace, name, patch, subresource, type) end

---Server-side apply: the object is made or changed so that it has what is said here; fields that this manager
---applied before and does not name any more go. apiVersion, kind and the name may be left out.
---Source: Kubernetes documentation, "Server-Side Apply".
---@param resource Resource
---@param namespace? string
---@param name string
---@param object table only the fields that the manager wants
---@param options { manager: string, force: boolean?, subresource: "status"|nil } force takes fields from other managers
---@return View?, ApiError? Conflict names who has the fields
function neap.apply(resource, namespace, name, object, options) end

---@param resource Resource
---@param namespace? string
---@param name string
---@param options? { uid: string?, version: string?, grace: integer?, propagation: "Background"|"Foreground"|"Orphan"|nil } uid, version: only this one, of this resourceVersion
---@return View|true|nil, ApiError?
function neap.delete(resource, namespace, name, options) end

---Several at once, at most 1000; each only if it is still the object that was seen (its uid).
---@param resource Resource
---@param objects View[]
---@param options? { propagation: "Background"|"Foreground"|"Orphan"|nil }
---@return { object: View?, error: ApiError? }[]
function neap.delete_all(resource, objects, options) end

-- ---- values ----

---A plain table of a view (a deep copy); anything else as it is.
---@generic T
---@param object T
---@return T
function neap.edit(object) end

---Marks a table as a list, so that an empty one is [] and not {}.
---@param list? table
---@return table
function neap.array(list) end

---The table at a place; what is missing on the way is made: neap.ensure(object, "metadata", "labels").team = "red".
---@param object table
---@param ... string|integer
---@return table
function neap.ensure(object, ...) end

---Equal as JSON.
---@return boolean
function neap.equal(a, b) end

---Ten characters, the same for equal values.
---@return string
function neap.hash(value) end

---@return integer seconds since 1970
function neap.now() end

---@param seconds? integer default: now
---@return string RFC 3339
function neap.time(seconds) end

---@return string RFC 3339 with microseconds
function neap.microtime() end

---@param text? string RFC 3339
---@return integer?
function neap.seconds(text) end

---@param text string "100m", "1Gi"
---@return integer? thousandths
function neap.quantity(text) end

---@param length? integer 1 to 15; 5
---@return string random characters for a name
function neap.suffix(length) end

---@param what string
---@param text? string
function neap.log(what, text) end

-- ---- tests: neap script test FILE_test.lua ----

---@class Try the same writes, which return nil and an ApiError instead of raising it
---@field create fun(self: Try, object: table, options?: { dry_run: boolean? }): table?, ApiError?
---@field update fun(self: Try, object: table, subresource?: string): table?, ApiError?
---@field patch fun(self: Try, resource: Resource, namespace?: string, name: string, patch: table, subresource?: string): table?, ApiError?
---@field delete fun(self: Try, resource: Resource, namespace?: string, name: string, options?: table): table|true|nil, ApiError?

---@class Test
---@field try Try
local Test = {}
---Starts a controller: one of neap's by name ("replicaset"), or a path from the test's folder.
---@param path string
function Test:controller(path) end
---Adds an admission rule, likewise.
---@param path string
function Test:admission(path) end
---Each write waits until the controllers have come to rest. The namespace default is meant when none is said.
---@param object table
---@param options? { dry_run: boolean? }
---@return table
function Test:create(object, options) end
---@param object table
---@param subresource? string
---@return table
function Test:update(object, subresource) end
---@param resource Resource
---@param namespace? string
---@param name string
---@param patch table a merge patch
---@param subresource? string
---@return table
function Test:patch(resource, namespace, name, patch, subresource) end
---@param resource Resource
---@param namespace? string
---@param name string
---@param options? { uid: string?, grace: integer?, propagation: string? }
---@return table|true
function Test:delete(resource, namespace, name, options) end
---Creating it must be refused with a message that holds <text>.
---@param text string
---@param object table
---@return ApiError
function Test:refused(text, object) end
---@param resource Resource
---@param namespace? string
---@param name string
---@return table?
function Test:get(resource, namespace, name) end
---@param resource Resource
---@param options? { namespace: string?, selector: table<string, string>? }
---@return table[]
function Test:list(resource, options) end
---@param reason? string
---@return table[]
function Test:events(reason) end
---Warnings of the last write.
---@return string[]
function Test:warnings() end
---Moves the clock; what is due on the way happens at its time.
---@param seconds number
function Test:advance(seconds) end
---@return number seconds since 1970 on the test's clock
function Test:now() end
---@return string
function Test:time() end
---Syncs that failed so far.
---@return integer
function Test:failures() end
---Who the next requests are from.
---@param name string
---@param ... string groups
function Test:user(name, ...) end
---A namespace with its default ServiceAccount.
---@param name string
---@return table
function Test:namespace(name) end
---A node that is ready.
---@param name string
---@return table
function Test:node(name) end
---Plays the kubelet: pods run, are ready and have addresses; those that are being deleted go.
---@param options? { namespace: string?, selector: table<string, string>?, rounds: integer? }
function Test:kubelet(options) end
---@param value any
---@param why? string
---@return any
function Test:ok(value, why) end
---@param have any
---@param want any
---@param what? string
function Test:equal(have, want, what) end
---<have> holds at least what <want> says.
---@param have any
---@param want any
---@param what? string
function Test:has(have, want, what) end
---@param text string
---@param f function
function Test:raises(text, f) end

---Declares a test: it gets a cluster of its own.
---@param name string
---@param f fun(t: Test)
function test(name, f) end
