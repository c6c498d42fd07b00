package wire

import "encoding/json"

// CallAnswer is what a procedure call returns. Values are encoded as their SQL types say.
type CallAnswer struct {
	ReturnValue int64                      `json:"return_value"`
	Output      map[string]json.RawMessage `json:"output"`
	ResultSets  []ResultSet                `json:"result_sets"`
}

// ResultSet is rows with the order of their columns.
type ResultSet struct {
	Columns []ResultColumn    `json:"columns"`
	Rows    []json.RawMessage `json:"rows"`
}

// ResultColumn is one column of a ResultSet or of a ViewAnswer.
type ResultColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// ViewAnswer is one page of a view. Each row is an object whose keys are in the order of the columns.
type ViewAnswer struct {
	Index         uint64            `json:"index"`
	Columns       []ResultColumn    `json:"columns"`
	Rows          []json.RawMessage `json:"rows"`
	NextPageToken string            `json:"next_page_token,omitempty"`
	// Messages is present if the query reads operation_messages of one operation.
	Messages *MessagesState `json:"messages,omitempty"`
}

// MessagesState tells whether an operation's messages are complete. Workers send messages and reports independently, so
// some messages of an execution may be missing for a moment after its end.
type MessagesState struct {
	// Complete: the operation has ended and no more messages of it will come.
	Complete bool `json:"complete"`
	// Ended: the operation has ended.
	Ended bool `json:"ended"`
	// Missing is how many messages workers have announced and not sent yet.
	Missing int64 `json:"missing"`
	// LostAttempts is how many attempts were lost with their workers. Their last messages may never come.
	LostAttempts int `json:"lost_attempts"`
}

// Views lists the catalog's views.
type Views struct {
	Views []View `json:"views"`
}

// View describes one view.
type View struct {
	Name    string   `json:"name"`
	Doc     string   `json:"doc"`
	Roles   []string `json:"roles"` // users with any of them may read it; empty: every user
	Columns []Column `json:"columns"`
	Key     []string `json:"key"` // the order of its rows unless the query names one
}

// Column describes one column of a view.
type Column struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
	Doc      string `json:"doc,omitempty"`
}

// Procedures lists the catalog's procedures.
type Procedures struct {
	Procedures []Procedure `json:"procedures"`
}

// Procedure describes one procedure.
type Procedure struct {
	Schema     string               `json:"schema"`
	Name       string               `json:"name"`
	Aliases    []string             `json:"aliases"`
	Doc        string               `json:"doc"`
	Roles      []string             `json:"roles"`
	Parameters []ProcedureParameter `json:"parameters"`
	Returns    []ReturnCode         `json:"return_codes"`
	ResultSets [][]Column           `json:"result_sets"` // the columns of each
	Codes      []string             `json:"codes"`       // that the procedure's own rules refuse with
}

// ReturnCode is a value that a procedure may return, and what it means.
type ReturnCode struct {
	Value int64  `json:"value"`
	Doc   string `json:"doc"`
}

// ProcedureParameter describes one parameter of a procedure. Default is null if there is no default or if it is NULL.
type ProcedureParameter struct {
	Name      string          `json:"name"`
	Type      string          `json:"type"`
	Required  bool            `json:"required"`
	Default   json.RawMessage `json:"default"`
	Output    bool            `json:"output"`
	Sensitive bool            `json:"sensitive"`
	Doc       string          `json:"doc,omitempty"`
}
