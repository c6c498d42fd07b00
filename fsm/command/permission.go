package command

// Right is what somebody wants to do with an object, in the product's numbers (permission_type).
type Right int

// The rights that are asked for.
const (
	RightRead          Right = 1
	RightModify        Right = 2
	RightExecute       Right = 3
	RightCreateObjects Right = 100
)

// String is the product's name of the right.
func (r Right) String() string {
	switch r {
	case RightRead:
		return "READ"
	case RightModify:
		return "MODIFY"
	case RightExecute:
		return "EXECUTE"
	case RightCreateObjects:
		return "CREATE_OBJECTS"
	}
	return "invalid"
}

// ObjectType is a type of objects, in the product's numbers for permissions, which are others than those of operations.
// The catalog and the cluster as a whole are ours, and stand in no row.
type ObjectType int

// The types of objects that rights are about.
const (
	OnCluster   ObjectType = -1
	OnCatalog   ObjectType = 0
	OnFolder    ObjectType = 1
	OnProject   ObjectType = 2
	OnOperation ObjectType = 4
)

// String is the type as views and messages name it.
func (t ObjectType) String() string {
	switch t {
	case OnCluster:
		return "cluster"
	case OnCatalog:
		return "catalog"
	case OnFolder:
		return "folder"
	case OnProject:
		return "project"
	case OnOperation:
		return "operation"
	}
	return "invalid"
}

// Object is what a right is about. Without an ID it is some object of the type, whichever: who has the right on none is
// refused before anything else is looked at.
type Object struct {
	Type  ObjectType
	ID    int64
	Owner string // of an operation: who created it
}

// FolderObject is a folder.
func FolderObject(id int64) Object { return Object{Type: OnFolder, ID: id} }

// ProjectObject is a project. What is inside it has its permissions: versions, packages, parameters.
func ProjectObject(id int64) Object { return Object{Type: OnProject, ID: id} }

// OperationObject is an operation, or an execution, which is one.
func OperationObject(id int64, owner string) Object {
	return Object{Type: OnOperation, ID: id, Owner: owner}
}

// Permission is what a door asks before it reads what a caller wants: any one of its rights, each on some object of its
// type. Whether the caller has the right on the very object is the transition's rule, or the view's for each row.
type Permission []Need

// Need is a right on some object of a type.
type Need struct {
	Right Right
	On    ObjectType
}

// What callers of procedures, views and routes must be able to do.
var (
	MayConnect          = Permission{{RightRead, OnCatalog}} // any user
	MayAdminister       = Permission{{RightModify, OnCatalog}}
	MayRun              = Permission{{RightExecute, OnCatalog}}
	MayWatch            = Permission{{RightRead, OnCluster}}
	MayOperate          = Permission{{RightModify, OnCluster}}
	MayReadFolders      = Permission{{RightRead, OnFolder}}
	MayReadProjects     = Permission{{RightRead, OnProject}}
	MayDeploy           = Permission{{RightCreateObjects, OnFolder}, {RightModify, OnProject}}
	MayModifyProjects   = Permission{{RightModify, OnProject}}
	MayExecuteProjects  = Permission{{RightExecute, OnProject}}
	MayReadOperations   = Permission{{RightRead, OnOperation}}
	MayModifyOperations = Permission{{RightModify, OnOperation}}
)
